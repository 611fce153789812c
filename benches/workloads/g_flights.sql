-- Flights with the weather of their hour and origin: how late each carrier leaves, in rain and without.
CREATE STREAM weather (origin VARCHAR, time_hour TIMESTAMP(6), precip DOUBLE);
CREATE STREAM flights (carrier VARCHAR, origin VARCHAR, time_hour TIMESTAMP(6), dep_delay BIGINT);

SELECT carrier, precip > 0 AS rain, avg(dep_delay) AS delay, count(*) AS n
FROM flights AS f JOIN weather AS w ON f.origin = w.origin AND f.time_hour = w.time_hour
WHERE dep_delay IS NOT NULL
GROUP BY 1, 2 EMIT FINAL;
