WITH bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2),
windowed AS (
    SELECT auction, date_bin(INTERVAL '2 seconds', "dateTime") - back AS window_start
    FROM (
        SELECT *, unnest([INTERVAL '0 seconds', INTERVAL '2 seconds', INTERVAL '4 seconds', INTERVAL '6 seconds',
            INTERVAL '8 seconds']) AS back
        FROM bid)),
counted AS (SELECT auction, window_start, count(*) AS num FROM windowed GROUP BY auction, window_start),
ranked AS (SELECT *, max(num) OVER (PARTITION BY window_start) AS maxn FROM counted)
SELECT auction, num, window_start, window_start + INTERVAL '10 seconds' AS window_end FROM ranked WHERE num = maxn
