-- Count, maximum and sum of the prices of each channel, a string, once at the end. Keys are drawn uniformly.
CREATE STREAM bidu (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT);

SELECT channel, count(*) AS n, max(price) AS best, sum(price) AS total
FROM bidu GROUP BY channel EMIT FINAL;
