"""Flink SQL, parallelism 1, in one warm process of Java's: jobs over rows in memory that a counting sink takes.

Java holds the rows and the clock (Runner.java); this is the conversation around it.
"""

import itertools
import os
import shutil
import subprocess
import tempfile

import pyarrow as pa
import pyarrow.csv as csv

import peer
import tables
from nexmark import NEXMARK, REFUSED
from workloads import WORKLOADS

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
TYPES = {
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "CHAR": pa.string(),
    "VARCHAR": pa.string(),
    "TIMESTAMP_WITHOUT_TIME_ZONE": pa.timestamp("ms"),
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
        self.text = " ".join(query.text.replace("{bids}", request.bids).split())
        self.folder = tempfile.mkdtemp(prefix="run-", dir=os.environ["RIVERRUN_PEER_HOME"])
        self.whole, self.small = self.sources()
        self.fixed_seconds = None

    def sources(self):
        """What makes Flink's tables of all rows, and of the few that show the fixed cost of a job."""
        if self.request.source == "memory":
            memory = tables.Memory(self.request, self.query)
            memory.load(self.java, self.folder)
            return memory.declare(self.rows_in), memory.declare(min(SMALL_ROWS, self.rows_in))
        return self.files("whole", None), self.files("small", SMALL_ROWS)

    def files(self, name, rows):
        return [self.file(table, name, rows) for table in self.request.tables]

    def file(self, table, name, rows):
        form, path = FORMATS[self.request.source], self.request.path(table)
        # Flink cannot skip a header, so its CSV files are copies without one.
        header = 1 if form == "csv" else 0
        if header or rows:
            path = self.copy(path, f"{table}.{name}", header, rows and header + rows)
        schema = self.request.schema(table)
        columns = [f"{field.name} {tables.sql_type(field.type)}" for field in schema]
        columns += tables.watermark(schema.field(tables.TIME).type, self.query.behind_s)
        return tables.create(table, columns, {"connector": "filesystem", "path": path, "format": form})

    def copy(self, path, name, first, end):
        copy = os.path.join(self.folder, name)
        with open(path) as lines, open(copy, "w") as file:
            file.writelines(itertools.islice(lines, first, end))
        return copy

    def order(self, command, settings, made, changes):
        settings = ";".join(f"{key}={value}" for key, value in settings.items())
        return command, settings, ";".join(made), changes, self.text

    def job(self, made):
        seconds, cpu, out = self.java.say(*self.order("run", self.query.settings, made, self.query.changes))
        return float(seconds), float(cpu), int(out)

    def warm(self):
        """The first job of a kind compiles what the later ones run; a small one is the fixed cost of any job."""
        self.job(self.whole)
        self.fixed_seconds = min(self.job(self.small)[0] for _ in range(2))

    def measure(self):
        if self.fixed_seconds is None:
            self.warm()
        seconds, cpu, out = self.job(self.whole)
        measured = {"seconds": seconds, "cpu_seconds": cpu, "rows_in": self.rows_in, "rows_out": out}
        # Over few rows the fixed cost is all there is, and its own scatter would be the result.
        if seconds > 1.2 * self.fixed_seconds:
            measured["net_seconds"] = seconds - self.fixed_seconds
        return {**measured, "peak_bytes": self.java.peak_bytes()}

    def answer(self):
        path = os.path.join(self.folder, "answer.tsv")
        form = self.query.form
        # A changelog can only be folded if what goes is in it too.
        changes = "all" if form == "CHANGES" else self.query.changes
        order = self.order("answer", self.query.answer_settings, self.whole, changes)
        columns = [column.split(":") for column in self.java.say(*order, path, form, self.query.keys)]
        types = {name: TYPES[kind] for name, kind in columns}
        if form == "CHANGES":
            types = {"op": pa.string(), **types}
        read = csv.ReadOptions(column_names=list(types))
        parse = csv.ParseOptions(delimiter="\t", quote_char=False)
        convert = csv.ConvertOptions(column_types=types, null_values=["null"], strings_can_be_null=True)
        return csv.read_csv(path, read, parse, convert)

    def close(self):
        self.java.say("forget")
        shutil.rmtree(self.folder, ignore_errors=True)


JAVA_PROCESS = Java()


def load(request):
    name = request.workload.removeprefix(peer.NEXMARK)
    if name in REFUSED:
        raise peer.Unsupported(REFUSED[name])
    query = (WORKLOADS if name == request.workload else NEXMARK).get(name)
    if query is None:
        raise peer.Unsupported("not measured with Flink")
    if query is NEXMARK.get(name) and request.source != "memory":
        raise peer.Unsupported("Flink runs Nexmark from memory alone")
    if request.source not in ("memory", *FORMATS):
        raise peer.Unsupported(f"Flink's package reads no {request.source} files")
    return Run(request, JAVA_PROCESS, query)


peer.serve(JAVA_PROCESS.version, load)
