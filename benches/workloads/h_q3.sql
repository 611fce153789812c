-- Auctions with their sellers, a plain SQL join: both sides are kept, for whichever row comes later.
CREATE STREAM person (id BIGINT, name VARCHAR, city VARCHAR, state VARCHAR, date_time BIGINT);
CREATE STREAM auction (id BIGINT, seller BIGINT, category BIGINT, initial_bid BIGINT, date_time BIGINT);

SELECT p.name, p.city, p.state, a.id AS auction
FROM auction AS a JOIN person AS p ON a.seller = p.id;
