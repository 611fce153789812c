"""The workloads as Bytewax flows, each with the operator that Bytewax has for it.

A flow reads from the stream `rows`, and its answer's rows come from `tuples`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Callable, Tuple

import bytewax.operators as op


@dataclass(frozen=True)
class Flow:
    """`columns` is what a row of the input has; `keyed` says that the first of them is the key."""

    columns: Tuple[str, ...]
    keyed: bool
    build: Callable
    tuples: Callable


def add(totals, price):
    totals[0] += 1
    if price > totals[1]:
        totals[1] = price
    totals[2] += price
    return totals


def final(rows):
    return op.fold_final("totals", rows, lambda: [0, 0, 0], add)


def count_on(state, price):
    n, best, total = state or (0, 0, 0)
    state = (n + 1, price if price > best else best, total + price)
    return state, state


def running(rows):
    return op.stateful_map("totals", rows, count_on)


# A callback per batch instead of one per row is several times as fast, and still a user's own Python.
def q1(rows):
    return op.flat_map_batch("q1", rows, lambda bids: [(a, b, p * 0.908, c, t) for a, b, p, c, t in bids])


def q2(rows):
    return op.flat_map_batch("q2", rows, lambda bids: [bid for bid in bids if bid[0] % 123 == 0])


def collect(rows):
    return op.collect("tens", rows, timeout=timedelta(hours=1), max_size=10)


def join(emit):
    """Persons' values are tuples and auctions' are numbers: that tells the sides of the one input apart."""

    def build(rows):
        persons = op.flat_map_batch("persons", rows, lambda rows: [row for row in rows if type(row[1]) is tuple])
        auctions = op.flat_map_batch("auctions", rows, lambda rows: [row for row in rows if type(row[1]) is int])
        return op.join("join", persons, auctions, insert_mode="last", emit_mode=emit)

    return Flow((), True, build, lambda rows: [(person or (None,) * 3) + (auction,) for _, (person, auction) in rows])


def number_first(rows):
    return [(int(key), *values) for key, values in rows]


def text_first(rows):
    return [(key, *values) for key, values in rows]


FLOWS = {
    "a1_auction": Flow(("auction", "price"), True, final, number_first),
    "a2_bidder": Flow(("bidder", "price"), True, final, number_first),
    "a3_channel": Flow(("channel", "price"), True, final, text_first),
    "b_running": Flow(("auction", "price"), True, running, number_first),
    "d_join_running": join("running"),
    "d_join_complete": join("complete"),
    "d_join_final": join("final"),
    "e_q1": Flow(("auction", "bidder", "price", "channel", "date_time"), False, q1, list),
    "e_q2": Flow(("auction", "price"), False, q2, list),
    "f_collect": Flow(("auction", "price"), True, collect, lambda rows: [(int(key), prices) for key, prices in rows]),
}
