"""Nexmark's queries as the benchmark's own repository writes them for Flink, over the columns of `../../nexmark`.

Where that leaves the order of equals open, or means decimals and whole means, these say what riverrun's say, so that
both have one answer.
"""

import re
from pathlib import Path

import tables
from query import Query, changing, first_of

BEHIND_S = 4
CHANNEL_ID = "REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2)"
DAY = "DATE_FORMAT(date_time, 'yyyy-MM-dd')"
CLASSES = {"low": "price < 10000", "middle": "price >= 10000 AND price < 1000000", "high": "price >= 1000000"}


def timed(text):
    return Query(text, behind_s=BEHIND_S)


def windows(kind, table, *intervals):
    of = ", ".join(f"INTERVAL '{seconds}' SECOND" for seconds in intervals)
    return f"TABLE({kind}(TABLE {table}, DESCRIPTOR(date_time), {of}))"


def by_class(what, name):
    return ", ".join(f"count({what}) FILTER (WHERE {those}) AS {of}_{name}" for of, those in CLASSES.items())


COUNTS = ", ".join(
    f"count({what}) AS {name}, {by_class(what, name)}"
    for what, name in [("*", "bids"), ("DISTINCT bidder", "bidders"), ("DISTINCT auction", "auctions")]
)
HOPS = f"""
    SELECT auction, count(*) AS bids, window_start, window_end
    FROM {windows("HOP", "bid", 2, 10)} GROUP BY auction, window_start, window_end"""
# The bids that an auction takes.
VALID = """
    FROM auction AS a, bid AS b
    WHERE a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires"""


def side_input():
    """The table that q13 looks up, with the rows that riverrun's file inserts."""
    text = (Path(__file__).parents[2] / "nexmark" / "q13.sql").read_text()
    rows = ",".join(f"{key}={value}" for key, value in re.findall(r"\((\d+), '(\w+)'\)", text))
    return tables.create("side_input", ["`key` BIGINT", "`value` STRING"], {"connector": "lookup", "rows": rows})


NEXMARK = {
    "q0": Query("SELECT auction, bidder, price, date_time, extra FROM bid"),
    "q1": Query("SELECT auction, bidder, 0.908e0 * price AS price, date_time, extra FROM bid"),
    "q2": Query("SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0"),
    "q3": Query("""
        SELECT p.name, p.city, p.state, a.id
        FROM auction AS a INNER JOIN person AS p ON a.seller = p.id
        WHERE a.category = 10 AND (p.state = 'or' OR p.state = 'id' OR p.state = 'ca')"""),
    "q4": changing(
        f"""
        SELECT category, avg(CAST(final AS DOUBLE)) AS average
        FROM (SELECT max(b.price) AS final, a.category {VALID} GROUP BY a.id, a.category) AS finals
        GROUP BY category""",
        mini_batch=0,
    ),
    "q5": timed(f"""
        SELECT counted.auction, counted.bids, counted.window_start, counted.window_end
        FROM ({HOPS}) AS counted
        JOIN (SELECT max(bids) AS most, window_start, window_end FROM ({HOPS}) AS counts
              GROUP BY window_start, window_end) AS best
        ON counted.window_start = best.window_start AND counted.window_end = best.window_end
          AND counted.bids >= best.most"""),
    "q7": timed(f"""
        SELECT b.auction, b.bidder, b.price, b.date_time, b.extra
        FROM (SELECT * FROM {windows("TUMBLE", "bid", 10)}) AS b
        JOIN (SELECT max(price) AS highest, window_start, window_end FROM {windows("TUMBLE", "bid", 10)}
              GROUP BY window_start, window_end) AS best
        ON b.window_start = best.window_start AND b.window_end = best.window_end AND b.price = best.highest"""),
    "q8": timed(f"""
        SELECT p.id, p.name, p.window_start
        FROM (SELECT id, name, window_start, window_end FROM {windows("TUMBLE", "person", 10)}
              GROUP BY id, name, window_start, window_end) AS p
        JOIN (SELECT seller, window_start, window_end FROM {windows("TUMBLE", "auction", 10)}
              GROUP BY seller, window_start, window_end) AS a
        ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end"""),
    "q9": first_of(
        1,
        f"""
        SELECT id, item_name, seller, category, bidder, price, bid_at
        FROM (SELECT a.id, a.item_name, a.seller, a.category, b.bidder, b.price, b.date_time AS bid_at,
                ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.bidder) AS place
              {VALID}) AS placed
        WHERE place <= 1""",
    ),
    "q10": Query(f"""
        SELECT auction, bidder, price, date_time, extra, {DAY} AS `day`, DATE_FORMAT(date_time, 'HH:mm') AS `minute`
        FROM bid"""),
    "q11": timed("""
        SELECT bidder, count(*) AS bids, window_start, window_end
        FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
        GROUP BY bidder, window_start, window_end"""),
    "q13": Query(
        """
        SELECT b.auction, b.bidder, b.price, b.date_time, s.`value` AS place
        FROM bid AS b JOIN side_input FOR SYSTEM_TIME AS OF b.looked_up_at AS s ON MOD(b.auction, 10) = s.`key`""",
        clock="looked_up_at",
        lookups=(side_input(),),
    ),
    "q14": Query("""
        SELECT auction, bidder, 0.908e0 * price AS price,
          CASE
            WHEN HOUR(date_time) >= 8 AND HOUR(date_time) <= 18 THEN 'day'
            WHEN HOUR(date_time) <= 6 OR HOUR(date_time) >= 20 THEN 'night'
            ELSE 'other'
          END AS time_of_day,
          date_time, extra, count_char(extra, 'c') AS letters
        FROM bid
        WHERE 0.908e0 * price > 1000000 AND 0.908e0 * price < 50000000"""),
    "q15": changing(f"SELECT {DAY} AS `day`, {COUNTS} FROM bid GROUP BY {DAY}"),
    "q16": changing(
        f"""
        SELECT channel, {DAY} AS `day`, max(DATE_FORMAT(date_time, 'HH:mm')) AS `minute`, {COUNTS}
        FROM bid GROUP BY channel, {DAY}""",
        mini_batch=0,
    ),
    "q17": changing(
        f"""
        SELECT auction, {DAY} AS `day`, count(*) AS bids, {by_class("*", "bids")}, min(price) AS lowest,
          max(price) AS highest, avg(CAST(price AS DOUBLE)) AS average, sum(price) AS total
        FROM bid GROUP BY auction, {DAY}""",
        mini_batch=0,
    ),
    "q18": first_of(
        2,
        """
        SELECT auction, bidder, price, channel, url, date_time
        FROM (SELECT *, ROW_NUMBER() OVER (
                PARTITION BY bidder, auction ORDER BY date_time DESC, price DESC, url) AS place
              FROM bid) AS placed
        WHERE place <= 1""",
    ),
    "q19": changing(
        """
        SELECT auction, bidder, price, channel, date_time, place
        FROM (SELECT *, ROW_NUMBER() OVER (
                PARTITION BY auction ORDER BY price DESC, date_time, bidder, url) AS place
              FROM bid) AS placed
        WHERE place <= 10""",
        mini_batch=0,
    ),
    "q20": Query("""
        SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time, a.item_name, a.initial_bid, a.reserve, a.seller
        FROM bid AS b INNER JOIN auction AS a ON b.auction = a.id
        WHERE a.category = 10"""),
    "q21": Query(f"""
        SELECT auction, bidder, price, channel,
          CASE
            WHEN lower(channel) = 'apple' THEN '0'
            WHEN lower(channel) = 'google' THEN '1'
            WHEN lower(channel) = 'facebook' THEN '2'
            WHEN lower(channel) = 'baidu' THEN '3'
            ELSE {CHANNEL_ID}
          END AS channel_id
        FROM bid
        WHERE {CHANNEL_ID} IS NOT NULL OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')"""),
    "q22": Query("""
        SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS `first`,
          SPLIT_INDEX(url, '/', 4) AS `second`, SPLIT_INDEX(url, '/', 5) AS `third`
        FROM bid"""),
    "q23": Query("""
        SELECT b.bidder, b.price, b.channel, p.name, p.city, a.id, a.item_name, a.initial_bid, a.reserve, a.category
        FROM bid AS b
        JOIN person AS p ON p.id = b.bidder
        JOIN auction AS a ON a.seller = b.bidder"""),
}

# What Flink has no answer for, and why.
REFUSED = {
    "q6": "Flink orders OVER windows by one time attribute alone, and over rows that are never taken back",
    "q12": "Flink's windows of the clock say nothing if the input ends before they do",
}
