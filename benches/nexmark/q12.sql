-- How many bids each bidder makes in 10 seconds of the clock.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT bidder, count(*) AS bids, window_start, window_end
FROM bid
GROUP BY bidder, TUMBLE(proctime(), INTERVAL '10 seconds');
