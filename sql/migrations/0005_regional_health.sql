-- How busy a region is, for the map: intensity 100 stands for 10,000 events in a minute or more.
CREATE MATERIALIZED VIEW regional_health WITH (retention = '24 hours') AS
SELECT region                                        AS name,
       location                                      AS coords,
       least(100.0, count(*) / 100.0)                AS intensity,
       count(*) FILTER (WHERE action = 'purchase')   AS sales
FROM events
GROUP BY region, location
WINDOW TUMBLE (timestamp, INTERVAL '1 minute')
EMIT ON UPDATE;
