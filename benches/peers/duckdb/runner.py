"""DuckDB, one thread: each query computed once over all rows and delivered as an Arrow table."""

import duckdb
import pyarrow as pa
import pyarrow.ipc as ipc

import peer
import queries

TYPES = {peer.LONG: "BIGINT", peer.TEXT: "VARCHAR", peer.TIME: "TIMESTAMP", peer.DOUBLE: "DOUBLE"}

# One list per auction cut into tens is three times as fast as numbering the bids in a window. On one thread
# list() sees the rows in their order; the harness's check of the answer would show if it did not.
COLLECT = """
    SELECT auction, prices[first:first + 9] AS prices
    FROM (SELECT auction, prices, unnest(range(1, len(prices) + 1, 10)) AS first
          FROM (SELECT auction, list(price) AS prices FROM {bids} GROUP BY auction))"""


def columns(table):
    return "{" + ", ".join(f"'{name}': '{TYPES[kind]}'" for name, kind in peer.TABLES[table].items()) + "}"


def scan(request, table):
    """How a file is read when the query runs; declared columns spare DuckDB the guessing."""
    path = request.path(table)
    if request.source == "csv":
        return f"read_csv('{path}', header = true, columns = {columns(table)})"
    if request.source == "jsonl":
        return f"read_json('{path}', format = 'newline_delimited', columns = {columns(table)})"
    return f"read_parquet('{path}')"


class Query(peer.Job):
    def __init__(self, request, text):
        super().__init__(request)
        self.connection = duckdb.connect(config={"threads": 1})
        if request.source != "arrow":
            self.create(request)
        self.connection.execute("SET preserve_insertion_order = false")
        place = "rowid" if request.source == "memory" else "row_number() OVER ()"
        placed = f"(SELECT *, {place} AS place FROM {request.bids})"
        self.text = text.format(bids=request.bids, placed=placed)

    def create(self, request):
        for table in request.tables:
            if request.source == "memory":
                self.connection.execute(f"CREATE TABLE {table} AS FROM '{request.path(table)[:-5]}parquet'")
            else:
                self.connection.execute(f"CREATE VIEW {table} AS FROM {scan(request, table)}")

    def open_arrow(self):
        for table in self.request.tables:
            with pa.memory_map(self.request.path(table)) as file:
                self.connection.register(table, ipc.open_file(file).read_all())

    def run(self):
        if self.request.source == "arrow":
            self.open_arrow()
        # sql() hands its rows over once; execute() would copy them a second time.
        return self.connection.sql(self.text).to_arrow_table()

    def close(self):
        self.connection.close()


def load(request):
    text = COLLECT if request.workload == "f_collect" else queries.SQL.get(request.workload)
    if text is None:
        raise peer.Unsupported("DuckDB computes an answer once, and has no changelog or keyed join modes")
    return Query(request, text)


peer.serve(duckdb.__version__, load)
