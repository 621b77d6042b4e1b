-- Auction statistics of a day.
CREATE MATERIALIZED VIEW q17 AS
WITH bid AS (
    SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
        "dateTime", bid.extra AS extra
    FROM nexmark WHERE event_type = 2)
SELECT auction, to_char("dateTime", 'YYYY-MM-DD') AS day,
    count(*) AS total_bids,
    count(*) FILTER (WHERE price < 10000) AS rank1_bids,
    count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
    count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
    min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price
FROM bid
GROUP BY auction, to_char("dateTime", 'YYYY-MM-DD')
