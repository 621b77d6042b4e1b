-- The share of checkouts that fail, by region, every ten seconds: fine enough for an alert that counts minutes.
CREATE MATERIALIZED VIEW checkout_error_rate WITH (retention = '24 hours') AS
SELECT region, avg(value) AS rate
FROM metrics
WHERE metric_name = 'checkout.error_rate'
GROUP BY region
WINDOW TUMBLE (timestamp, INTERVAL '10 seconds')
EMIT ON UPDATE;
