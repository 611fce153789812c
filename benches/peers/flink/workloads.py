"""The workloads of `../../workloads` in Flink's SQL; `{bids}` is the table of bids."""

import peer
from query import Query, changing


def totals(key):
    return f"SELECT {key}, count(*) AS n, max(price) AS best, sum(price) AS total FROM {{bids}} GROUP BY {key}"


def counts(key, windows):
    return Query(
        f"SELECT {key}, window_start, count(*) AS n FROM TABLE({windows}) GROUP BY {key}, window_start, window_end",
        behind_s=1,
    )


WORKLOADS = {
    "a1_auction": changing(totals("auction")),
    "a2_bidder": changing(totals("bidder")),
    "a3_channel": changing(totals("channel")),
    # Without mini-batches the aggregate's changelog has one new row for every row in; OVER gives the same, a little slower.
    "b_running": Query(totals("auction")),
    # Changes are folded over as many rows as riverrun folds them over: one of its batches.
    "c_changes": changing(totals("auction"), mini_batch=peer.BATCH_ROWS, changes="all"),
    "e_q1": Query("SELECT auction, bidder, price * 0.908e0 AS price, channel, date_time FROM {bids}"),
    "e_q2": Query("SELECT auction, price FROM {bids} WHERE MOD(auction, 123) = 0"),
    "h_q3": Query("""
        SELECT p.name, p.city, p.state, a.id AS auction
        FROM auction AS a JOIN person AS p ON a.seller = p.id"""),
    "h_q20": Query("""
        SELECT b.auction, b.bidder, b.price, b.channel, b.date_time, a.seller, a.category, a.initial_bid
        FROM {bids} AS b JOIN auction AS a ON b.auction = a.id
        WHERE a.category = 10"""),
    "i_best_total": changing("""
        SELECT shard, max(total) AS best
        FROM (SELECT auction, MOD(auction, 1000) AS shard, sum(price) AS total FROM {bids} GROUP BY auction) AS totals
        GROUP BY shard"""),
    "j_tumble": counts("auction", "TUMBLE(TABLE {bids}, DESCRIPTOR(ts), INTERVAL '10' SECOND)"),
    "j_hop": counts("auction", "HOP(TABLE {bids}, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND)"),
    "j_session": counts("bidder", "SESSION(TABLE {bids} PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '10' SECOND)"),
}
