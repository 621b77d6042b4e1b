WITH bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2),
neighbours AS (
    SELECT bidder, "dateTime", lag("dateTime") OVER (PARTITION BY bidder ORDER BY "dateTime") AS before FROM bid),
numbered AS (
    SELECT bidder, "dateTime",
        sum(CASE WHEN before IS NULL OR "dateTime" - before >= INTERVAL '10 seconds' THEN 1 ELSE 0 END)
            OVER (PARTITION BY bidder ORDER BY "dateTime") AS session
    FROM neighbours)
SELECT bidder, count(*) AS bid_count, min("dateTime") AS starttime, max("dateTime") + INTERVAL '10 seconds' AS endtime
FROM numbered GROUP BY bidder, session
