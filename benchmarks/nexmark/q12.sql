-- Processing time: bids of each user in the ten seconds in which Kafka took them.
CREATE MATERIALIZED VIEW q12 AS
WITH bid AS (
    SELECT bid.bidder AS bidder, _ingested_at AS p_time FROM nexmark WHERE event_type = 2)
SELECT bidder, count(*) AS bid_count, date_bin(INTERVAL '10 seconds', p_time) AS starttime
FROM bid
GROUP BY bidder, date_bin(INTERVAL '10 seconds', p_time)
