-- Bids with what a small table says of their auctions when they come.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);
CREATE TABLE side_input (key BIGINT, value VARCHAR, PRIMARY KEY (key));
INSERT INTO side_input VALUES
  (0, 'hall'), (1, 'tent'), (2, 'barn'), (3, 'yard'), (4, 'shop'),
  (5, 'pier'), (6, 'loft'), (7, 'park'), (8, 'dock'), (9, 'mill');

SELECT auction, bidder, price, date_time, side_input.value AS place
FROM bid
JOIN side_input FOR SYSTEM_TIME AS OF proctime() ON auction % 10 = side_input.key;
