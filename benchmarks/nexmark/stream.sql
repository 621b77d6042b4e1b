-- Persons, auctions and bids in one topic, of which each record has one.
CREATE STREAM nexmark (
    event_type INT NOT NULL,
    person STRUCT<id BIGINT, name TEXT, "emailAddress" TEXT, "creditCard" TEXT, city TEXT, state TEXT,
        "dateTime" TIMESTAMPTZ, extra TEXT>,
    auction STRUCT<id BIGINT, "itemName" TEXT, description TEXT, "initialBid" BIGINT, reserve BIGINT,
        "dateTime" TIMESTAMPTZ, expires TIMESTAMPTZ, seller BIGINT, category BIGINT, extra TEXT>,
    bid STRUCT<auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, "dateTime" TIMESTAMPTZ, extra TEXT>,
    "dateTime" TIMESTAMPTZ NOT NULL,
    WATERMARK FOR "dateTime" AS "dateTime" - INTERVAL '4 seconds')
WITH (connector = 'kafka', bootstrap_servers = '${BOOTSTRAP}', topic = '${TOPIC}', format = 'json')
