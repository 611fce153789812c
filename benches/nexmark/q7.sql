-- The highest bids of each 10 seconds.
CREATE STREAM bid (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
  WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT auction, bidder, price, date_time, extra
FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
QUALIFY rank() OVER (PARTITION BY window_start, window_end ORDER BY price DESC) = 1;
