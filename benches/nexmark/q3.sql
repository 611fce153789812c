-- Who is selling in particular states: auctions of one category with their local sellers.
CREATE STREAM person WITH (connector = 'nexmark', events = 100000, rate = 1000);
CREATE STREAM auction WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT p.name, p.city, p.state, a.id
FROM auction AS a JOIN person AS p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('or', 'id', 'ca');
