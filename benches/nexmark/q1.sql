-- Every bid with its price in euros.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT auction, bidder, 0.908 * price AS price, date_time, extra
FROM bid;
