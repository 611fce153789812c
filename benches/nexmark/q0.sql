-- Every bid as it is.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT auction, bidder, price, date_time, extra
FROM bid;
