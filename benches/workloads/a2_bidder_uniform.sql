-- Count, maximum and sum of the prices of each bidder, once at the end. Keys are drawn uniformly.
CREATE STREAM bidu (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT);

SELECT bidder, count(*) AS n, max(price) AS best, sum(price) AS total
FROM bidu GROUP BY bidder EMIT FINAL;
