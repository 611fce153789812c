-- Persons with their auctions: a row once both are there, and then afresh.
CREATE STREAM person (id BIGINT, name VARCHAR, city VARCHAR, state VARCHAR, date_time BIGINT);
CREATE STREAM auction (id BIGINT, seller BIGINT, category BIGINT, initial_bid BIGINT, date_time BIGINT);

SELECT p.name, p.city, p.state, a.id AS auction
FROM person p JOIN auction a ON p.id = a.seller KEEP LAST EMIT COMPLETE;
