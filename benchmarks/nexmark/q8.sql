-- New users: who came and opened an auction in the same ten seconds?
CREATE MATERIALIZED VIEW q8 AS
WITH person AS (
    SELECT person.id AS id, person.name AS name, person."emailAddress" AS "emailAddress", person."creditCard" AS "creditCard",
        person.city AS city, person.state AS state, "dateTime", person.extra AS extra
    FROM nexmark WHERE event_type = 0),
auction AS (
    SELECT auction.id AS id, auction."itemName" AS "itemName", auction.description AS description,
        auction."initialBid" AS "initialBid", auction.reserve AS reserve, "dateTime", auction.expires AS expires,
        auction.seller AS seller, auction.category AS category, auction.extra AS extra
    FROM nexmark WHERE event_type = 1)
SELECT p.id, p.name, p.starttime
FROM (
    SELECT id, name, window_start AS starttime, window_end AS endtime
    FROM TUMBLE(person, "dateTime", INTERVAL '10 seconds')
    GROUP BY id, name, window_start, window_end) AS p
JOIN (
    SELECT seller, window_start AS starttime, window_end AS endtime
    FROM TUMBLE(auction, "dateTime", INTERVAL '10 seconds')
    GROUP BY seller, window_start, window_end) AS a
ON p.id = a.seller AND p.starttime = a.starttime AND p.endtime = a.endtime
EMIT ON WINDOW CLOSE
