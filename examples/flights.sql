-- New York's flights of January 2013, as a stream.

CREATE STREAM flights WITH (path = 'examples/data/flights.csv');
CREATE STREAM weather WITH (path = 'examples/data/weather.csv');
CREATE STREAM airlines WITH (path = 'examples/data/airlines.csv');

-- How late each carrier leaves, once the month is over.
SELECT carrier, count(*) AS flights, round(avg(dep_delay), 2) AS mean_delay, max(dep_delay) AS worst
FROM flights GROUP BY carrier ORDER BY mean_delay DESC EMIT FINAL;

-- The same while it goes on: a row out for every row in. These are the first ten.
SELECT carrier, count(*) AS flights, round(avg(dep_delay), 2) AS mean_delay
FROM flights GROUP BY carrier LIMIT 10 EMIT RUNNING;

-- The name of each carrier, from the table of airlines: every flight with every row of its carrier.
SELECT name, count(*) AS flights
FROM flights JOIN airlines USING (carrier) KEEP PRODUCT EMIT FINAL
GROUP BY name ORDER BY flights DESC LIMIT 5;

-- Flights with the weather of their hour and origin: does rain make them late?
SELECT CASE WHEN precip > 0 THEN 'rain' ELSE 'dry' END AS weather,
       count(*) AS flights, round(avg(dep_delay), 2) AS mean_delay
FROM flights JOIN weather ON flights.origin = weather.origin AND flights.time_hour = weather.time_hour
     KEEP PRODUCT EMIT FINAL
GROUP BY 1 ORDER BY 1;

-- Departures by the hundred for each airport: how long did each hundred take to come together?
SELECT origin, count(*) AS flights, min(time_hour) AS first_hour, max(time_hour) AS last_hour, close_reason() AS why
FROM flights GROUP BY origin, COLLECT(max_rows => 2500)
ORDER BY origin, first_hour;
