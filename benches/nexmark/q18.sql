-- The last bid of each bidder for each auction. The last columns make the order total.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT auction, bidder, price, channel, url, date_time
FROM bid
QUALIFY row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, price DESC, url) = 1;
