-- Bids with their auctions of one category, a plain SQL join: both sides are kept.
CREATE STREAM auction (id BIGINT, seller BIGINT, category BIGINT, initial_bid BIGINT, date_time BIGINT);
CREATE STREAM bidn (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT);

SELECT b.auction, b.bidder, b.price, b.channel, b.date_time, a.seller, a.category, a.initial_bid
FROM bidn AS b JOIN auction AS a ON b.auction = a.id
WHERE a.category = 10;
