WITH bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2),
compared AS (
    SELECT *, max(price) OVER (PARTITION BY date_bin(INTERVAL '10 seconds', "dateTime")) AS maxprice FROM bid)
SELECT auction, bidder, price, "dateTime", extra FROM compared WHERE price = maxprice
