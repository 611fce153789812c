"""Polars, one thread: each query computed once over all rows and delivered as a data frame."""

import os

# Polars reads this when it is imported.
os.environ["POLARS_MAX_THREADS"] = "1"

import polars
from polars import col

import peer

TYPES = {peer.LONG: polars.Int64, peer.TEXT: polars.String, peer.TIME: polars.Datetime("us"), peer.DOUBLE: polars.Float64}


def totals(key):
    best, total = col("price").max().alias("best"), col("price").sum().alias("total")
    return lambda bids: bids.group_by(key).agg(polars.len().alias("n"), best, total)


def running(bids):
    """In row order: `over` sees the rows of an auction as they stand in the frame."""
    n = polars.int_range(1, polars.len() + 1).over("auction").alias("n")
    best, total = col("price").cum_max().over("auction"), col("price").cum_sum().over("auction")
    return bids.select("auction", n, best.alias("best"), total.alias("total"))


def q1(bids):
    return bids.with_columns(col("price") * 0.908)


def q2(bids):
    return bids.filter(col("auction") % 123 == 0).select("auction", "price")


def collect(bids):
    """Numbers an auction's bids and groups by tens; cutting one list per auction is slower where an auction has many."""
    ten = (polars.int_range(polars.len()).over("auction") // 10).alias("ten")
    tens = bids.select("auction", "price", ten).group_by("auction", "ten")
    return tens.agg(col("price").alias("prices")).select("auction", "prices")


def flights(flights, weather):
    joined = flights.filter(col("dep_delay").is_not_null()).join(weather, on=["origin", "time_hour"])
    groups = joined.group_by("carrier", (col("precip") > 0).alias("rain"))
    return groups.agg(col("dep_delay").mean().alias("delay"), polars.len().alias("n"))


def sellers(auctions, persons):
    joined = auctions.join(persons, left_on="seller", right_on="id")
    return joined.select("name", "city", "state", col("id").alias("auction"))


def of_category(bids, auctions):
    some = auctions.filter(col("category") == 10).select("id", "seller", "category", "initial_bid")
    return bids.join(some, left_on="auction", right_on="id")


def best_totals(bids):
    totals = bids.group_by("auction").agg(col("price").sum().alias("total"))
    return totals.group_by((col("auction") % 1000).alias("shard")).agg(col("total").max().alias("best"))


QUERIES = {
    "a1_auction": totals("auction"),
    "a2_bidder": totals("bidder"),
    "a3_channel": totals("channel"),
    "b_running": running,
    "e_q1": q1,
    "e_q2": q2,
    "f_collect": collect,
    "g_flights": flights,
    "h_q3": sellers,
    "h_q20": of_category,
    "i_best_total": best_totals,
}


class Query(peer.Job):
    def __init__(self, request, query):
        super().__init__(request)
        self.plan = query(*[self.frame(request, table) for table in request.tables])
        # The streaming engine is the faster one on one thread, except for lists.
        self.engine = "in-memory" if request.workload == "f_collect" else "streaming"

    def frame(self, request, table):
        path, schema = request.path(table), {name: TYPES[kind] for name, kind in peer.TABLES[table].items()}
        if request.source == "memory":
            return polars.from_arrow(request.read(table), rechunk=True).lazy()
        if request.source == "arrow":
            return polars.scan_ipc(path)
        if request.source == "parquet":
            return polars.scan_parquet(path)
        if request.source == "csv":
            return polars.scan_csv(path, schema=schema)
        return polars.scan_ndjson(path, schema=schema)

    def run(self):
        return self.plan.collect(engine=self.engine)

    def rows_out(self, result):
        return result.height

    def answer(self):
        return self.run().to_arrow(compat_level=polars.CompatLevel.oldest())


def load(request):
    if request.workload not in QUERIES:
        raise peer.Unsupported("Polars computes an answer once, and has no changelog or keyed join modes")
    return Query(request, QUERIES[request.workload])


peer.serve(polars.__version__, load)
