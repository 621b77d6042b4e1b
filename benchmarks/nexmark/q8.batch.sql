WITH person AS (
    SELECT person.id AS id, person.name AS name, person."emailAddress" AS "emailAddress", person."creditCard" AS "creditCard",
        person.city AS city, person.state AS state, "dateTime", person.extra AS extra
    FROM nexmark WHERE event_type = 0),
auction AS (
    SELECT auction.id AS id, auction."itemName" AS "itemName", auction.description AS description,
        auction."initialBid" AS "initialBid", auction.reserve AS reserve, "dateTime", auction.expires AS expires,
        auction.seller AS seller, auction.category AS category, auction.extra AS extra
    FROM nexmark WHERE event_type = 1),
came AS (SELECT DISTINCT id, name, date_bin(INTERVAL '10 seconds', "dateTime") AS starttime FROM person),
sold AS (SELECT DISTINCT seller, date_bin(INTERVAL '10 seconds', "dateTime") AS starttime FROM auction)
SELECT came.id, came.name, came.starttime
FROM came JOIN sold ON came.id = sold.seller AND came.starttime = sold.starttime
