-- Bids with their auctions and the auctions' sellers.
SELECT b.auction, b.bidder, b.price, a.item_name, a.category, p.name, p.city
FROM bid AS b JOIN auction AS a ON b.auction = a.id JOIN person AS p ON a.seller = p.id;
