-- Bids with their auctions, of one category.
CREATE STREAM auction WITH (connector = 'nexmark', events = 100000, rate = 1000);
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time, a.item_name, a.initial_bid, a.reserve, a.seller
FROM bid AS b JOIN auction AS a ON b.auction = a.id
WHERE a.category = 10;
