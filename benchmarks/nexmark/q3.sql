-- Local item suggestion: who sells in Oregon, Idaho or California in category 10?
CREATE MATERIALIZED VIEW q3 WITH (state_ttl = '1 hour') AS
WITH person AS (
    SELECT person.id AS id, person.name AS name, person."emailAddress" AS "emailAddress", person."creditCard" AS "creditCard",
        person.city AS city, person.state AS state, "dateTime", person.extra AS extra
    FROM nexmark WHERE event_type = 0),
auction AS (
    SELECT auction.id AS id, auction."itemName" AS "itemName", auction.description AS description,
        auction."initialBid" AS "initialBid", auction.reserve AS reserve, "dateTime", auction.expires AS expires,
        auction.seller AS seller, auction.category AS category, auction.extra AS extra
    FROM nexmark WHERE event_type = 1)
SELECT p.name, p.city, p.state, a.id
FROM auction AS a JOIN person AS p ON a.seller = p.id
WHERE a.category = 10 AND (p.state = 'OR' OR p.state = 'ID' OR p.state = 'CA')
