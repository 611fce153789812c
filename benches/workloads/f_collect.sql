-- The prices of each auction's bids, in lists of ten.
CREATE STREAM bidn (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT);

SELECT auction, array_agg(price) AS prices FROM bidn GROUP BY auction, COLLECT(max_rows => 10);
