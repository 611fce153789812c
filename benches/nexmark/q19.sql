-- The ten highest bids for each auction. The last columns make the order total.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT *
FROM (
  SELECT auction, bidder, price, channel, date_time,
    row_number() OVER (PARTITION BY auction ORDER BY price DESC, date_time, bidder, url) AS place
  FROM bid
)
WHERE place <= 10;
