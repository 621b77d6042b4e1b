-- Sessions of users: how many bids each, ten seconds without one ending it.
CREATE MATERIALIZED VIEW q11 AS
WITH bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2)
SELECT bidder, count(*) AS bid_count, window_start AS starttime, window_end AS endtime
FROM SESSION(bid, "dateTime", INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end
EMIT ON WINDOW CLOSE
