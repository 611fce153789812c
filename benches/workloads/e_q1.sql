-- Nexmark's first query: the price of each bid in another currency.
CREATE STREAM bidn (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT);

SELECT auction, bidder, price * 0.908 AS price, channel, date_time FROM bidn;
