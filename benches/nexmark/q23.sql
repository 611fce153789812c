-- The bids of persons who sell something themselves, with what they sell.
CREATE STREAM person WITH (connector = 'nexmark', events = 100000, rate = 1000);
CREATE STREAM auction WITH (connector = 'nexmark', events = 100000, rate = 1000);
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT b.bidder, b.price, b.channel, p.name, p.city, a.id, a.item_name, a.initial_bid, a.reserve, a.category
FROM bid AS b
JOIN person AS p ON p.id = b.bidder
JOIN auction AS a ON a.seller = b.bidder;
