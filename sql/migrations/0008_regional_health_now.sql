-- The map as it is now: the last minute by the clock, one row per region.
CREATE MATERIALIZED VIEW regional_health_now AS
SELECT region                                      AS name,
       '[' || replace(min(location), ',', ', ') || ']' AS coords,
       least(100.0, count(*) / 100.0)              AS intensity,
       count(*) FILTER (WHERE action = 'purchase') AS sales
FROM events
WHERE timestamp > now() - INTERVAL '1 minute'
GROUP BY region;
