"""Flink SQL, parallelism 1, in one warm process of Java's: jobs over bids that a counting sink takes.

Java holds the rows and the clock (Runner.java); this is the conversation around it.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as csv

import peer

SMALL_ROWS = 1000
FORMATS = {"csv": "csv", "jsonl": "json"}
JAVA = [
    "java",
    "-XX:+UseParallelGC",
    "-XX:MaxDirectMemorySize=3g",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "-Dlog4j2.level=ERROR",
]


@dataclass(frozen=True)
class Query:
    """`mini_batch` is in rows, 0 without; `changes` is `upsert` (no old rows) or `all`; `keep` folds the answer."""

    text: str
    mini_batch: int = 0
    changes: str = "upsert"
    keep: str = "LAST_OF_KEY"


def totals(key):
    return f"SELECT {key}, count(*) AS n, max(price) AS best, sum(price) AS total FROM bids GROUP BY {key}"


QUERIES = {
    "a1_auction": Query(totals("auction"), mini_batch=20000),
    "a2_bidder": Query(totals("bidder"), mini_batch=20000),
    "a3_channel": Query(totals("channel"), mini_batch=20000),
    # Without mini-batches the aggregate's changelog has one new row for every row in; OVER gives the same, a little slower.
    "b_running": Query(totals("auction"), keep="EVERY_ROW"),
    # Changes are folded over as many rows as riverrun folds them over: one of its batches.
    "c_changes": Query(totals("auction"), mini_batch=peer.BATCH_ROWS, changes="all"),
    "e_q1": Query("SELECT auction, bidder, price * 0.908e0 AS price, channel, date_time FROM bids", keep="EVERY_ROW"),
    "e_q2": Query("SELECT auction, price FROM bids WHERE MOD(auction, 123) = 0", keep="EVERY_ROW"),
}


class Java:
    """The process that runs Flink, started with the first load."""

    def __init__(self):
        heap = os.environ.get("RIVERRUN_FLINK_HEAP", "8g")
        command = [*JAVA, f"-Xms{heap}", f"-Xmx{heap}", "-cp", os.environ["RIVERRUN_FLINK_CLASSPATH"], "Runner"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self.reply()[0]

    def reply(self):
        kind, *fields = self.process.stdout.readline().rstrip("\n").split("\t")
        if kind != "ok":
            raise RuntimeError(" ".join(fields) or "the Java process ended")
        return fields

    def say(self, *words):
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.reply()

    def peak_bytes(self):
        try:
            with open(f"/proc/{self.process.pid}/status") as status:
                return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
        except OSError:
            return None


class Run(peer.Job):
    def __init__(self, request, java, query):
        super().__init__(request)
        self.java, self.query = java, query
        self.folder = tempfile.mkdtemp(prefix="run-", dir=os.environ["RIVERRUN_PEER_HOME"])
        self.whole, self.small = self.sources()
        self.fixed_seconds = None

    def decode(self):
        path = os.path.join(self.folder, "bids.tsv")
        options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
        csv.write_csv(self.request.read(self.request.bids).select(list(peer.BIDS)), path, options)
        self.java.say("bids", path, self.rows_in)
        os.remove(path)

    def sources(self):
        """What Flink reads for all rows, and for the few that show the fixed cost of a job."""
        if self.request.source == "memory":
            self.decode()
            return "memory", "memory"
        form, path = FORMATS[self.request.source], self.request.path(self.request.bids)
        # Flink cannot skip a header, so its CSV files are copies without one.
        header = 1 if form == "csv" else 0
        whole = self.copy(path, "whole", header, None) if header else path
        return f"{form}:{whole}", f"{form}:{self.copy(path, 'small', header, header + SMALL_ROWS)}"

    def copy(self, path, name, first, end):
        copy = os.path.join(self.folder, name)
        with open(path) as lines, open(copy, "w") as file:
            file.writelines(itertools.islice(lines, first, end))
        return copy

    def job(self, source, rows):
        query = self.query
        rows = min(rows, self.rows_in)
        seconds, cpu, out = self.java.say("run", source, rows, query.mini_batch, query.changes, query.text)
        return float(seconds), float(cpu), int(out)

    def whole_job(self):
        return self.job(self.whole, self.rows_in)

    def warm(self):
        """The first job of a kind compiles what the later ones run; a small one is the fixed cost of any job."""
        self.whole_job()
        self.fixed_seconds = min(self.job(self.small, SMALL_ROWS)[0] for _ in range(2))

    def measure(self):
        if self.fixed_seconds is None:
            self.warm()
        seconds, cpu, out = self.whole_job()
        measured = {"seconds": seconds, "cpu_seconds": cpu, "rows_in": self.rows_in, "rows_out": out}
        # Over few rows the fixed cost is all there is, and its own scatter would be the result.
        if seconds > 1.2 * self.fixed_seconds:
            measured["net_seconds"] = seconds - self.fixed_seconds
        return {**measured, "peak_bytes": self.java.peak_bytes()}

    def answer(self):
        path = os.path.join(self.folder, "answer.tsv")
        query = self.query
        self.java.say("answer", self.whole, self.rows_in, query.mini_batch, query.changes, query.text, path, query.keep)
        schema = self.request.answer
        return csv.read_csv(
            path,
            csv.ReadOptions(column_names=schema.names),
            csv.ParseOptions(delimiter="\t", quote_char=False),
            csv.ConvertOptions(column_types=schema),
        )

    def close(self):
        self.java.say("forget")
        shutil.rmtree(self.folder, ignore_errors=True)


JAVA_PROCESS = Java()


def load(request):
    if request.workload not in QUERIES:
        raise peer.Unsupported("not measured with Flink")
    if request.source not in ("memory", *FORMATS):
        raise peer.Unsupported(f"Flink's package reads no {request.source} files")
    return Run(request, JAVA_PROCESS, QUERIES[request.workload])


peer.serve(JAVA_PROCESS.version, load)
