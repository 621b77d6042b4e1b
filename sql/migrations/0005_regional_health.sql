-- How much of what a region can bear it has to bear, minute by minute: 0 to 100. The load is a metric between 0 and 1;
-- with EBAP_LOAD_METRIC and EBAP_LOAD_FULL it is another one, and the value of it that stands for 100.
CREATE MATERIALIZED VIEW regional_load WITH (retention = '24 hours') AS
SELECT region,
       CAST(round(100 * least(greatest(avg(value) / ${EBAP_LOAD_FULL:-1.0}, 0), 1)) AS INTEGER) AS intensity
FROM metrics
WHERE metric_name = '${EBAP_LOAD_METRIC:-system.cpu.load}' AND region IS NOT NULL
GROUP BY region
WINDOW TUMBLE (timestamp, INTERVAL '1 minute')
EMIT ON UPDATE;

-- What was bought in a region, minute by minute.
CREATE MATERIALIZED VIEW regional_sales WITH (retention = '24 hours') AS
SELECT region,
       coalesce(sum(CAST(metadata['amount'] AS NUMERIC(18, 2))) FILTER (WHERE action = 'purchase'), 0.00) AS sales
FROM events
WHERE region IS NOT NULL
GROUP BY region
WINDOW TUMBLE (timestamp, INTERVAL '1 minute')
EMIT ON UPDATE;

-- The map: every region with its centre, and of load and sales the newest minute that there is. Where a region has had
-- no telemetry its intensity is 0, and so are the sales of one without events.
CREATE MATERIALIZED VIEW regional_health AS
WITH load AS (SELECT DISTINCT ON (region) region, intensity FROM regional_load ORDER BY region, window_start DESC),
     sales AS (SELECT DISTINCT ON (region) region, sales FROM regional_sales ORDER BY region, window_start DESC)
SELECT r.name,
       '[' || r.lat || ', ' || r.lng || ']' AS coords,
       coalesce(l.intensity, 0)             AS intensity,
       coalesce(s.sales, 0.00)              AS sales
FROM regions r
LEFT JOIN load l ON l.region = r.name
LEFT JOIN sales s ON s.region = r.name;
