-- Highest bid of every ten seconds.
CREATE MATERIALIZED VIEW q7 AS
WITH bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2)
SELECT b.auction, b.bidder, b.price, b."dateTime", b.extra
FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds') AS b
JOIN (
    SELECT max(price) AS maxprice, window_start, window_end
    FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds')
    GROUP BY window_start, window_end) AS b1
ON b.price = b1.maxprice AND b.window_start = b1.window_start AND b.window_end = b1.window_end
EMIT ON WINDOW CLOSE
