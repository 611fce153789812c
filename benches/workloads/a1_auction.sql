-- Count, maximum and sum of the prices of each auction, once at the end.
CREATE STREAM bidn (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT);

SELECT auction, count(*) AS n, max(price) AS best, sum(price) AS total
FROM bidn GROUP BY auction EMIT FINAL;
