-- The bids for particular auctions.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT auction, price
FROM bid
WHERE auction % 123 = 0;
