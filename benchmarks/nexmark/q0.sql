-- Pass through.
CREATE MATERIALIZED VIEW q0 AS
WITH bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2)
SELECT auction, bidder, price, "dateTime", extra FROM bid
