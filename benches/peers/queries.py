"""The queries that DuckDB and DataFusion share, word for word.

`{bids}` is the table of bids, and `{placed}` the same with each row's place in the input as `place`.
"""


def totals(key):
    return f"SELECT {key}, count(*) AS n, max(price) AS best, sum(price) AS total FROM {{bids}} GROUP BY {key}"


SQL = {
    "a1_auction": totals("auction"),
    "a2_bidder": totals("bidder"),
    "a3_channel": totals("channel"),
    "b_running": """
        SELECT auction, count(*) OVER so_far AS n, max(price) OVER so_far AS best, sum(price) OVER so_far AS total
        FROM {placed} AS placed
        WINDOW so_far AS (PARTITION BY auction ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)""",
    "e_q1": "SELECT auction, bidder, price * 0.908e0 AS price, channel, date_time FROM {bids}",
    "e_q2": "SELECT auction, price FROM {bids} WHERE auction % 123 = 0",
    "g_flights": """
        SELECT carrier, precip > 0 AS rain, avg(dep_delay) AS delay, count(*) AS n
        FROM flights JOIN weather ON flights.origin = weather.origin AND flights.time_hour = weather.time_hour
        WHERE dep_delay IS NOT NULL
        GROUP BY carrier, precip > 0""",
    "h_q3": """
        SELECT person.name, person.city, person.state, auction.id AS auction
        FROM auction JOIN person ON auction.seller = person.id""",
    "h_q20": """
        SELECT {bids}.auction, {bids}.bidder, {bids}.price, {bids}.channel, {bids}.date_time,
               auction.seller, auction.category, auction.initial_bid
        FROM {bids} JOIN auction ON {bids}.auction = auction.id
        WHERE auction.category = 10""",
    "i_best_total": """
        SELECT shard, max(total) AS best
        FROM (SELECT auction, auction % 1000 AS shard, sum(price) AS total FROM {bids} GROUP BY auction) AS totals
        GROUP BY shard""",
    "j_tumble": """
        SELECT auction, date_time - date_time % 10000 AS window_start, count(*) AS n
        FROM {bids} GROUP BY auction, date_time - date_time % 10000""",
    "j_hop": """
        SELECT auction, slide - 2000 * back AS window_start, count(*) AS n
        FROM (SELECT auction, date_time - date_time % 2000 AS slide FROM {bids}) AS slides,
             (VALUES (0), (1), (2), (3), (4)) AS windows (back)
        GROUP BY auction, slide - 2000 * back""",
    "j_session": """
        SELECT bidder, min(date_time) AS window_start, count(*) AS n
        FROM (SELECT bidder, date_time,
                     sum(CASE WHEN date_time - before > 10000 OR before IS NULL THEN 1 ELSE 0 END)
                       OVER (PARTITION BY bidder ORDER BY date_time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS nth
              FROM (SELECT bidder, date_time, lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time) AS before
                    FROM {bids}) AS pairs) AS sessions
        GROUP BY bidder, nth""",
}
