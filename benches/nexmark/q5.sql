-- The auctions with the most bids in the last 10 seconds, every 2 seconds.
CREATE STREAM bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
  WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT auction, bids, window_start, window_end
FROM (
  SELECT auction, window_start, window_end, count(*) AS bids
  FROM bid
  GROUP BY auction, HOP(date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
)
QUALIFY rank() OVER (PARTITION BY window_start, window_end ORDER BY bids DESC) = 1;
