-- Calculation: bids of a range of prices, with the kind of hour and the c's in them.
CREATE MATERIALIZED VIEW q14 AS
WITH bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2)
SELECT auction, bidder, CAST(0.908 AS NUMERIC(3, 3)) * price AS price,
    CASE
        WHEN EXTRACT(HOUR FROM "dateTime") >= 8 AND EXTRACT(HOUR FROM "dateTime") <= 18 THEN 'dayTime'
        WHEN EXTRACT(HOUR FROM "dateTime") <= 6 OR EXTRACT(HOUR FROM "dateTime") >= 20 THEN 'nightTime'
        ELSE 'otherTime'
    END AS "bidTimeType",
    "dateTime", extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts
FROM bid
WHERE CAST(0.908 AS NUMERIC(3, 3)) * price > 1000000 AND CAST(0.908 AS NUMERIC(3, 3)) * price < 50000000
