-- Users seen in the current five minutes; the newest window is "now".
CREATE MATERIALIZED VIEW active_users_now WITH (retention = '24 hours') AS
SELECT window_start, window_end, platform, region, count(DISTINCT user_id) AS users
FROM TUMBLE(events, timestamp, INTERVAL '5 minutes')
GROUP BY window_start, window_end, platform, region
EMIT ON UPDATE;
