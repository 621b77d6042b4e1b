-- What comes in. Without variables the generator makes the data, so that these files run on a bare
-- machine; with EBAP_EVENTS, EBAP_METRICS and EBAP_USERS set to option lists they read Kafka, e.g.
--   EBAP_EVENTS="connector = 'kafka', bootstrap_servers = 'kafka:9092', topic = 'ebap.events.raw', dead_letter_topic = 'dead-letter-queue'"

CREATE STREAM events (
    id        UUID        NOT NULL,
    user_id   TEXT        NOT NULL PII HASH,
    action    TEXT        NOT NULL CHECK (action IN ('purchase', 'view', 'cart', 'login')),
    metadata  STRUCT<amount DOUBLE, item_id TEXT, region TEXT, platform TEXT,
                     email TEXT PII ENCRYPT, payment_hash TEXT PII ENCRYPT>,
    location  TEXT,
    timestamp TIMESTAMPTZ NOT NULL,
    region    TEXT AS (metadata['region']),
    platform  TEXT AS (metadata['platform']),
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 minutes'
) WITH (${EBAP_EVENTS:-connector = 'generator', dataset = 'ebap.events', rate = '1000'});

CREATE STREAM metrics (
    name      TEXT             NOT NULL,
    value     DOUBLE PRECISION NOT NULL,
    labels    MAP<TEXT, TEXT>,
    timestamp TIMESTAMPTZ      NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '1 minute'
) WITH (${EBAP_METRICS:-connector = 'generator', dataset = 'ebap.metrics', rate = '50'});

CREATE TABLE users (
    id         BIGINT PRIMARY KEY,
    user_id    TEXT NOT NULL,
    email      TEXT,
    tier       TEXT,
    country    TEXT,
    created_at TIMESTAMPTZ
) WITH (${EBAP_USERS:-connector = 'generator', dataset = 'ebap.users', rows = '10000'});
