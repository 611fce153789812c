"""The runner's half of the conversation in README.md, once for every peer driven from Python.

A peer calls `serve(version, load)`. `load` takes a `Request` and gives a `Job`, or raises `Unsupported`.
"""

import json
import os
import sys
import time
import traceback
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as parquet

BATCH_ROWS = 8192

SOURCES = ("memory", "arrow", "parquet", "csv", "jsonl")

LONG, TEXT, TIME, DOUBLE = pa.int64(), pa.string(), pa.timestamp("us"), pa.float64()

BIDS = {"auction": LONG, "bidder": LONG, "price": LONG, "channel": TEXT, "date_time": LONG}
TABLES = {
    "bidn": BIDS,
    "bidu": BIDS,
    "auction": {"id": LONG, "seller": LONG, "category": LONG, "initial_bid": LONG, "date_time": LONG},
    "person": {"id": LONG, "name": TEXT, "city": TEXT, "state": TEXT, "date_time": LONG},
    "flights": {"carrier": TEXT, "origin": TEXT, "time_hour": TIME, "dep_delay": LONG},
    "weather": {"origin": TEXT, "time_hour": TIME, "precip": DOUBLE},
}

AGGREGATES = {"n": LONG, "best": LONG, "total": LONG}
JOINED = {"name": TEXT, "city": TEXT, "state": TEXT, "auction": LONG}
ANSWERS = {
    "a1_auction": {"auction": LONG, **AGGREGATES},
    "a2_bidder": {"bidder": LONG, **AGGREGATES},
    "a3_channel": {"channel": TEXT, **AGGREGATES},
    "b_running": {"auction": LONG, **AGGREGATES},
    "c_changes": {"auction": LONG, **AGGREGATES},
    "d_join_running": JOINED,
    "d_join_complete": JOINED,
    "d_join_final": JOINED,
    "e_q1": {"auction": LONG, "bidder": LONG, "price": DOUBLE, "channel": TEXT, "date_time": LONG},
    "e_q2": {"auction": LONG, "price": LONG},
    "f_collect": {"auction": LONG, "prices": pa.list_(LONG)},
    "g_flights": {"carrier": TEXT, "rain": pa.bool_(), "delay": DOUBLE, "n": LONG},
    "h_q3": JOINED,
    "h_q20": {**BIDS, "seller": LONG, "category": LONG, "initial_bid": LONG},
    "i_best_total": {"shard": LONG, "best": LONG},
    "j_tumble": {"auction": LONG, "window_start": LONG, "n": LONG},
    "j_hop": {"auction": LONG, "window_start": LONG, "n": LONG},
    "j_session": {"bidder": LONG, "window_start": LONG, "n": LONG},
}


# What the names of Nexmark's queries begin with. They read other tables than the workloads do.
NEXMARK = "nexmark_"


class Unsupported(Exception):
    """The peer has no such workload or source; the message says why."""


@dataclass(frozen=True)
class Request:
    """What the harness asked to be loaded; `workload` is without its `_uniform`, and `reads` what its query names."""

    workload: str
    data: str
    source: str
    bids: str
    reads: tuple = ()

    @staticmethod
    def parse(said):
        workload = said["workload"].removesuffix("_uniform")
        if workload not in ANSWERS and not workload.startswith(NEXMARK):
            raise Unsupported(f"no workload {said['workload']}")
        if said["source"] not in SOURCES:
            raise Unsupported(f"no source {said['source']}")
        bids = "bidn" if workload == said["workload"] else "bidu"
        return Request(workload, said["data"], said["source"], bids, tuple(said.get("tables", ())))

    @property
    def tables(self):
        if self.workload.startswith(NEXMARK):
            return list(self.reads)
        if self.workload.startswith("d_") or self.workload == "h_q3":
            return ["auction", "person"]
        if self.workload == "h_q20":
            return ["bidn", "auction"]
        return ["flights", "weather"] if self.workload == "g_flights" else [self.bids]

    @property
    def answer(self):
        """The columns of the answer; none for Nexmark's, which are those of its queries."""
        columns = ANSWERS.get(self.workload)
        return columns and pa.schema(list(columns.items()))

    def schema(self, table):
        return pa.schema(list(TABLES[table].items()))

    def path(self, table):
        ending = "arrow" if self.source == "memory" else self.source
        return os.path.join(self.data, f"{table}.{ending}")

    def read(self, table):
        """The table, decoded into this process's own memory."""
        with pa.OSFile(os.path.join(self.data, f"{table}.arrow")) as file:
            return ipc.open_file(file).read_all()

    def rows(self):
        return sum(count_rows(self.path(table)) for table in self.tables)


class Job:
    """A loaded workload. `run` is what is measured, and gives whatever `rows_out` can count."""

    def __init__(self, request):
        self.request = request
        self.rows_in = request.rows()

    def run(self):
        raise NotImplementedError

    def rows_out(self, result):
        return result.num_rows

    def answer(self):
        """The whole answer as an Arrow table with at least the workload's columns."""
        return self.run()

    def measure(self):
        wall, cpu = time.perf_counter(), time.process_time()
        result = self.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {"seconds": wall, "cpu_seconds": cpu, "rows_in": self.rows_in, "rows_out": self.rows_out(result)}

    def close(self):
        """Lets go of what was loaded, before something else is."""


def count_rows(path):
    if path.endswith(".parquet"):
        return parquet.ParquetFile(path).metadata.num_rows
    if path.endswith(".arrow"):
        with pa.memory_map(path) as file:
            return ipc.open_file(file).count_rows()
    with open(path, "rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return lines - 1 if path.endswith(".csv") else lines


def write_answer(table, schema, path):
    if schema is not None:
        # A changelog says in its first column what a row does.
        changes = [field for field in table.schema if field.name == "op"]
        schema = pa.schema([*changes, *schema])
        table = table.select(schema.names).cast(schema)
    with pa.OSFile(path, "wb") as file, ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=BATCH_ROWS)
    return table.num_rows


class Conversation:
    def __init__(self, version, load):
        self.version, self.open, self.job = version, load, None

    def load(self, said):
        request = Request.parse(said)
        if self.job is not None:
            self.job.close()
        # The old rows must be gone before the new ones come: both together may not fit.
        self.job = None
        start = time.perf_counter()
        self.job = self.open(request)
        return {"version": self.version, "load_s": time.perf_counter() - start}

    def loaded(self):
        if self.job is None:
            raise ValueError("nothing is loaded")
        return self.job

    def answer(self, said):
        job = self.loaded()
        return {"rows_out": write_answer(job.answer(), job.request.answer, said["path"])}

    def reply(self, said):
        if said["cmd"] == "load":
            return self.load(said)
        if said["cmd"] == "run":
            return self.loaded().measure()
        if said["cmd"] == "answer":
            return self.answer(said)
        raise ValueError(f"no command {said['cmd']}")

    def answered(self, line):
        try:
            return {"ok": True, **self.reply(json.loads(line))}
        except Unsupported as why:
            return {"ok": False, "unsupported": True, "why": str(why)}
        # An engine's bindings may raise anything; the harness wants to go on with the next workload.
        except Exception as error:
            traceback.print_exc()
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}


def serve(version, load):
    """Answers the harness until it says `quit` or closes the pipe."""
    # Libraries that print must not end up in the conversation, whichever layer they print from.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    conversation = Conversation(version, load)
    for line in sys.stdin:
        if json.loads(line).get("cmd") == "quit":
            break
        print(json.dumps(conversation.answered(line)), file=replies, flush=True)
    if conversation.job is not None:
        conversation.job.close()
