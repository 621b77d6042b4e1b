-- What comes in. Without variables the generator makes the data, so that these files run on a bare
-- machine; with EBAP_EVENTS, EBAP_METRICS and EBAP_USERS set to option lists they read Kafka, e.g.
--   EBAP_EVENTS="connector = 'kafka', bootstrap_servers = 'kafka:9092', topic = 'ebap.events.raw', dead_letter_topic = 'dead-letter-queue'"
--   EBAP_METRICS="connector = 'kafka', bootstrap_servers = 'kafka:9092', topic = 'ebap.metrics.telemetry', timestamp_unit = 'ms'"
--   EBAP_USERS="connector = 'kafka', bootstrap_servers = 'kafka:9092', topic = 'ebap.cdc.users', format = 'debezium-json'"

-- The regions that events and telemetry belong to, and where their centres are. These lists and the table `regions`
-- say the same: whoever has other regions changes both. They are lists, as a join with the table would find what the
-- table has when an event comes, and nothing for the events before it is read.
CREATE FUNCTION region_names() RETURNS TEXT[] AS $$
    ARRAY['us-east-1', 'us-west-2', 'eu-west-1', 'eu-central-1', 'ap-south-1', 'ap-northeast-1', 'sa-east-1', 'ca-central-1']
$$;

-- In lower case.
CREATE FUNCTION region_titles() RETURNS TEXT[] AS $$
    ARRAY['eastern united states', 'western united states', 'western europe', 'central europe', 'south asia', 'northeast asia',
          'south america', 'canada']
$$;

-- Where an event was: by name or title, else the nearest region to "lat,lng". NULL where it says neither.
CREATE FUNCTION region_of(location TEXT) RETURNS TEXT AS $$
    (region_names())[coalesce(
        array_position(region_names(), lower(trim(location))),
        array_position(region_titles(), lower(trim(location))),
        geo_nearest(geo_lat(location), geo_lng(location),
            ARRAY[38.95, 45.84, 53.35, 50.11, 19.08, 35.68, -23.55, 45.50],
            ARRAY[-77.45, -119.70, -6.26, 8.68, 72.88, 139.77, -46.63, -73.57]))]
$$;

CREATE STREAM events (
    id        UUID        NOT NULL,
    user_id   TEXT        NOT NULL PII HASH,
    action    TEXT        NOT NULL CHECK (action IN ('purchase', 'view', 'cart', 'login')),
    metadata  STRUCT<amount DOUBLE, item_id TEXT, platform TEXT,
                     email TEXT PII ENCRYPT, payment_hash TEXT PII ENCRYPT>,
    location  TEXT,
    timestamp TIMESTAMPTZ NOT NULL,
    region    TEXT AS (region_of(location)),
    platform  TEXT AS (metadata['platform']),
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 minutes'
) WITH (${EBAP_EVENTS:-connector = 'generator', dataset = 'ebap.events', rate = '1000'});

-- The time is an Int64 of milliseconds.
CREATE STREAM metrics (
    metric_name TEXT             NOT NULL,
    labels      MAP<TEXT, TEXT>,
    timestamp   TIMESTAMPTZ      NOT NULL,
    value       DOUBLE PRECISION NOT NULL,
    region      TEXT AS (coalesce(region_of(labels['region']), labels['region'])),
    platform    TEXT AS (labels['platform']),
    WATERMARK FOR timestamp AS timestamp - INTERVAL '1 minute'
) WITH (${EBAP_METRICS:-connector = 'generator', dataset = 'ebap.metrics', rate = '50', timestamp_unit = 'ms'});

-- Follows the table of the shop's database by Debezium. User 7 here is 'u7' in events.
CREATE TABLE users (
    user_id    BIGINT PRIMARY KEY,
    name       TEXT,
    email      TEXT PII ENCRYPT,
    country    TEXT,
    tier       TEXT,
    balance    NUMERIC(12, 2),
    active     BOOLEAN,
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ
) WITH (${EBAP_USERS:-connector = 'generator', dataset = 'ebap.users', format = 'debezium-json', rows = '10000'});

-- Names, titles and centres of the regions, for maps; with EBAP_REGIONS from a file or a topic.
CREATE TABLE regions (
    name  TEXT PRIMARY KEY,
    title TEXT,
    lat   DOUBLE PRECISION NOT NULL CHECK (lat BETWEEN -90 AND 90),
    lng   DOUBLE PRECISION NOT NULL CHECK (lng BETWEEN -180 AND 180)
) WITH (${EBAP_REGIONS:-connector = 'generator', dataset = 'ebap.regions'});
