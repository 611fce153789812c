-- Persons with their auctions, the last of each, once at the end.
CREATE STREAM person (id BIGINT, name VARCHAR, city VARCHAR, state VARCHAR, date_time BIGINT);
CREATE STREAM auction (id BIGINT, seller BIGINT, category BIGINT, initial_bid BIGINT, date_time BIGINT);

SELECT p.name, p.city, p.state, a.id AS auction
FROM person p FULL JOIN auction a ON p.id = a.seller KEEP LAST EMIT FINAL;
