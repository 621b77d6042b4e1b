-- The winning bid of each auction.
CREATE MATERIALIZED VIEW q9 WITH (state_ttl = '1 hour') AS
WITH auction AS (
    SELECT auction.id AS id, auction."itemName" AS "itemName", auction.description AS description,
        auction."initialBid" AS "initialBid", auction.reserve AS reserve, "dateTime", auction.expires AS expires,
        auction.seller AS seller, auction.category AS category, auction.extra AS extra
    FROM nexmark WHERE event_type = 1),
bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2)
SELECT id, "itemName", description, "initialBid", reserve, "dateTime", expires, seller, category, extra,
    auction, bidder, price, "bid_dateTime", bid_extra
FROM (
    SELECT a.*, b.auction, b.bidder, b.price, b."dateTime" AS "bid_dateTime", b.extra AS bid_extra,
        ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b."dateTime" ASC) AS rownum
    FROM auction AS a JOIN bid AS b ON a.id = b.auction AND b."dateTime" BETWEEN a."dateTime" AND a.expires)
WHERE rownum <= 1
