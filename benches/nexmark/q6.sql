-- The average price of the last ten auctions that each seller has closed. The last columns make the order total.
CREATE STREAM auction WITH (connector = 'nexmark', events = 100000, rate = 1000);
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT seller, id, avg(price) OVER (
  PARTITION BY seller ORDER BY date_time, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW
) AS average
FROM (
  SELECT a.id, a.seller, b.price, b.date_time
  FROM auction AS a JOIN bid AS b ON a.id = b.auction
  WHERE b.date_time BETWEEN a.date_time AND a.expires
  QUALIFY row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.bidder) = 1
);
