-- Who has come and opened an auction within the same 10 seconds.
CREATE STREAM person (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
  WITH (connector = 'nexmark', events = 100000, rate = 1000);
CREATE STREAM auction (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
  WITH (connector = 'nexmark', events = 100000, rate = 1000);

SELECT p.id, p.name, p.window_start
FROM (
  SELECT id, name, window_start, window_end
  FROM person
  GROUP BY id, name, TUMBLE(date_time, INTERVAL '10 seconds')
) AS p
JOIN (
  SELECT seller, window_start, window_end
  FROM auction
  GROUP BY seller, TUMBLE(date_time, INTERVAL '10 seconds')
) AS a
ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end;
