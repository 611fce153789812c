-- The winning bid of each auction: the highest, and the earliest of those. The bidder makes the order total.
CREATE STREAM auction WITH (connector = 'nexmark', events = 100000, rate = 1000);
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT id, item_name, seller, category, bidder, price, bid_at
FROM (
  SELECT a.id, a.item_name, a.seller, a.category, b.bidder, b.price, b.date_time AS bid_at,
    row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.bidder) AS place
  FROM auction AS a JOIN bid AS b ON a.id = b.auction
  WHERE b.date_time BETWEEN a.date_time AND a.expires
)
WHERE place <= 1;
