-- How many bids each bidder made in a row, with no more than ten seconds between them.
CREATE STREAM bidn (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT,
                    WATERMARK FOR date_time AS date_time - 1000);

SELECT bidder, window_start, count(*) AS n FROM bidn GROUP BY bidder, SESSION(date_time, 10000);
