-- Bids with their auction, of category 10.
CREATE MATERIALIZED VIEW q20 WITH (state_ttl = '1 hour') AS
WITH auction AS (
    SELECT auction.id AS id, auction."itemName" AS "itemName", auction.description AS description,
        auction."initialBid" AS "initialBid", auction.reserve AS reserve, "dateTime", auction.expires AS expires,
        auction.seller AS seller, auction.category AS category, auction.extra AS extra
    FROM nexmark WHERE event_type = 1),
bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2)
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b."dateTime" AS "bid_dateTime", b.extra AS bid_extra,
    a."itemName", a.description, a."initialBid", a.reserve, a."dateTime" AS "auction_dateTime", a.expires, a.seller,
    a.category, a.extra AS auction_extra
FROM bid AS b JOIN auction AS a ON b.auction = a.id
WHERE a.category = 10
