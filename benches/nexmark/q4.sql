-- The average of the highest bids of the auctions of each category.
CREATE STREAM auction WITH (connector = 'nexmark', events = 100000, rate = 1000);
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT category, avg(final) AS average
FROM (
  SELECT a.id, a.category, max(b.price) AS final
  FROM auction AS a JOIN bid AS b ON a.id = b.auction
  WHERE b.date_time BETWEEN a.date_time AND a.expires
  GROUP BY a.id, a.category
)
GROUP BY category;
