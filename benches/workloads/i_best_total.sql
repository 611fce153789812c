-- The highest turnover of an auction in each of a thousand shards: a maximum that takes back what has changed.
CREATE STREAM bidn (auction BIGINT, price BIGINT);

SELECT shard, max(total) AS best
FROM (SELECT auction, auction % 1000 AS shard, sum(price) AS total FROM bidn GROUP BY auction EMIT CHANGES)
GROUP BY shard EMIT FINAL;
