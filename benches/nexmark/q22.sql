-- Bids with the directories of their URLs.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT
  auction,
  bidder,
  price,
  channel,
  split_part(url, '/', 4) AS first,
  split_part(url, '/', 5) AS second,
  split_part(url, '/', 6) AS third
FROM bid;
