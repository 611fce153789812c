-- Writes every bid into a file, with the day and the minute it belongs to.
CREATE STREAM bid WITH (connector = 'nexmark', events = 100000, rate = 1000);

COPY (
  SELECT
    auction,
    bidder,
    price,
    date_time,
    extra,
    to_char(date_time, '%Y-%m-%d') AS day,
    to_char(date_time, '%H:%M') AS minute
  FROM bid
) TO 'q10.csv';
