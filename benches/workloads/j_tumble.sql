-- How many bids each auction had in each ten seconds.
CREATE STREAM bidn (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT,
                    WATERMARK FOR date_time AS date_time - 1000);

SELECT auction, window_start, count(*) AS n FROM bidn GROUP BY auction, TUMBLE(date_time, 10000);
