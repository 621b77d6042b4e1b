-- Selection: bids on every 123rd auction.
CREATE MATERIALIZED VIEW q2 AS
WITH bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2)
SELECT auction, price FROM bid WHERE auction % 123 = 0
