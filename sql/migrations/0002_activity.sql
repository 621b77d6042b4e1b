-- What users do, by minute, five minutes and hour. The sizes share one state and always add up.
CREATE MATERIALIZED VIEW activity WITH (retention = '24 hours') AS
SELECT e.region, e.action,
       count(*)                  AS events,
       count(DISTINCT e.user_id) AS users,
       sum(e.metadata['amount']) AS revenue
FROM events e
GROUP BY e.region, e.action
WINDOW TUMBLE (e.timestamp, INTERVAL '1 minute', INTERVAL '5 minutes', INTERVAL '1 hour')
EMIT ON UPDATE;
