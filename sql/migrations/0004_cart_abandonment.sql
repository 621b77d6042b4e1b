-- Users with a cart and no purchase in the same hour. Users with a cart or a purchase, less those with
-- a purchase, are exactly the users with a cart alone.
CREATE MATERIALIZED VIEW cart_abandonment WITH (retention = '7 days') AS
SELECT platform, region,
       count(DISTINCT user_id) FILTER (WHERE action = 'cart') AS carts,
       count(DISTINCT user_id) FILTER (WHERE action IN ('cart', 'purchase'))
         - count(DISTINCT user_id) FILTER (WHERE action = 'purchase') AS abandoned
FROM events
WHERE action IN ('cart', 'purchase')
GROUP BY platform, region
WINDOW TUMBLE (timestamp, INTERVAL '1 hour')
EMIT ON UPDATE;
