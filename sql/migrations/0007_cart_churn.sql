-- Carts left behind, hour by hour and platform, when the hour is over.
CREATE MATERIALIZED VIEW cart_hours WITH (retention = '8 days') AS
SELECT platform,
       count(DISTINCT user_id) FILTER (WHERE action = 'cart') AS carts,
       1.0 * (count(DISTINCT user_id) FILTER (WHERE action IN ('cart', 'purchase'))
         - count(DISTINCT user_id) FILTER (WHERE action = 'purchase'))
         / nullif(count(DISTINCT user_id) FILTER (WHERE action = 'cart'), 0) AS rate
FROM events
WHERE action IN ('cart', 'purchase')
GROUP BY platform
WINDOW TUMBLE (timestamp, INTERVAL '1 hour')
EMIT ON WINDOW CLOSE;

-- What is usual: mean and standard deviation of the same hour of the seven days before.
CREATE MATERIALIZED VIEW cart_churn WITH (retention = '8 days') AS
SELECT h.window_start, h.window_end, h.platform, h.rate, count(p.rate) AS days, avg(p.rate) AS usual,
       sqrt(greatest(avg(p.rate * p.rate) - avg(p.rate) * avg(p.rate), 0.0)) AS deviation
FROM cart_hours h
JOIN cart_hours p
  ON p.platform = h.platform
 AND p.window_start BETWEEN h.window_start - INTERVAL '7 days' AND h.window_start - INTERVAL '1 day'
 AND date_part('hour', p.window_start) = date_part('hour', h.window_start)
GROUP BY h.window_start, h.window_end, h.platform, h.rate;
