-- The bids of a range of prices, with the time of day they belong to and how often a letter occurs in them.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT
  auction,
  bidder,
  0.908 * price AS price,
  CASE
    WHEN extract(hour FROM date_time) BETWEEN 8 AND 18 THEN 'day'
    WHEN extract(hour FROM date_time) <= 6 OR extract(hour FROM date_time) >= 20 THEN 'night'
    ELSE 'other'
  END AS time_of_day,
  date_time,
  extra,
  length(extra) - length(replace(extra, 'c', '')) AS letters
FROM bid
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;
