-- How many bids each bidder makes while active: until nothing comes for 10 seconds.
CREATE STREAM bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
  WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT bidder, count(*) AS bids, window_start, window_end
FROM bid
GROUP BY bidder, SESSION(date_time, INTERVAL '10 seconds');
