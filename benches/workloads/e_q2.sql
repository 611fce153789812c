-- Nexmark's second query: the bids of some auctions, one in 123.
CREATE STREAM bidn (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT);

SELECT auction, price FROM bidn WHERE auction % 123 = 0;
