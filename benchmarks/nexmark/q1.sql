-- Currency conversion: dollars to euros.
CREATE MATERIALIZED VIEW q1 AS
WITH bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2)
SELECT auction, bidder, CAST(0.908 AS NUMERIC(3, 3)) * price AS price, "dateTime", extra FROM bid
