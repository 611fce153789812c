-- How many bids each auction had in the ten seconds up to every second second.
CREATE STREAM bidn (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT,
                    WATERMARK FOR date_time AS date_time - 1000);

SELECT auction, window_start, count(*) AS n FROM bidn GROUP BY auction, HOP(date_time, 2000, 10000);
