"""The tables that a query reads: handed to Java, and declared to Flink."""

import os
import re

import pyarrow as pa

# Texts of which there are few.
WORDS = {"channel", "city", "state"}
TIME = "date_time"
# The column of times that numbers of milliseconds stand for.
MADE_TIME = "ts"


def sql_type(of):
    if pa.types.is_timestamp(of):
        return "TIMESTAMP(3)"
    return "STRING" if pa.types.is_string(of) else "BIGINT"


def watermark(kind, behind_s):
    """Declares event time, where the query has one."""
    if behind_s is None:
        return []
    if pa.types.is_timestamp(kind):
        return [f"WATERMARK FOR {TIME} AS {TIME} - INTERVAL '{behind_s}' SECOND"]
    made = f"{MADE_TIME} AS TO_TIMESTAMP_LTZ({TIME}, 3)"
    return [made, f"WATERMARK FOR {MADE_TIME} AS {MADE_TIME} - INTERVAL '{behind_s}' SECOND"]


def create(name, columns, connector):
    options = ", ".join(f"'{key}' = '{value}'" for key, value in connector.items())
    return f"CREATE TABLE {name} ({', '.join(columns)}) WITH ({options})"


class Memory:
    """Tables that Java holds, with those columns that the query names. Several arrive as one stream in order, as
    Nexmark's events do, and each is a view of it."""

    def __init__(self, request, query):
        self.query = query
        self.tables = {name: request.read(name) for name in request.tables}
        self.merged = len(self.tables) > 1

    def named(self, table):
        return [
            name
            for name in self.tables[table].column_names
            if re.search(rf"\b{name}\b", self.query.text) or name == TIME and self.query.behind_s is not None
        ]

    def load(self, java, folder):
        for name, rows in self.tables.items():
            columns = [column for column in rows.column_names if column in self.named(name) or column == TIME]
            kinds = [f"{column}:{write(rows[column], column, f'{folder}/{name}.{column}')}" for column in columns]
            java.say("table", name, folder, rows.num_rows, *kinds)
            for column in columns:
                os.remove(f"{folder}/{name}.{column}")
        if self.merged:
            # Under one watermark nothing may come late, so rows arrive one by one and not in the harness's batches.
            java.say("merge", 8192 if self.query.behind_s is None else 1, *self.tables)
        # Java has them now.
        self.tables = {name: rows.schema.empty_table() for name, rows in self.tables.items()}

    def declare(self, rows):
        connector = {"connector": "memory", "tables": ",".join(self.tables), "rows": rows}
        if self.merged:
            return [create("arrivals", self.arriving(), connector), *map(self.view, self.tables)]
        [(name, table)] = self.tables.items()
        columns = [f"{column} {sql_type(table[column].type)}" for column in self.named(name)]
        clock = [f"{self.query.clock} AS PROCTIME()"] if self.query.clock else []
        columns = [*columns, *clock, *watermark(table[TIME].type, self.query.behind_s)]
        return [create(name, columns, connector), *self.query.lookups]

    def arriving(self):
        schemas = [table.schema for table in self.tables.values()]
        own = [
            f"{name}_{column} {sql_type(table[column].type)}"
            for name, table in self.tables.items()
            for column in self.named(name)
            if column != TIME
        ]
        time = schemas[0].field(TIME).type
        return ["kind INT", f"{TIME} {sql_type(time)}", *own, *watermark(time, self.query.behind_s)]

    def view(self, table):
        columns = [column if column == TIME else f"{table}_{column} AS {column}" for column in self.named(table)]
        kind = list(self.tables).index(table)
        return f"CREATE VIEW {table} AS SELECT {', '.join(columns)} FROM arrivals WHERE kind = {kind}"


def write(column, name, path):
    """Writes a column's buffers, batch by batch, and says what it is."""
    kind = "time" if pa.types.is_timestamp(column.type) else "number"
    if pa.types.is_string(column.type):
        kind = "word" if name in WORDS else "text"
    with open(path, "wb") as file:
        for batch in column.chunks:
            _, first, *texts = batch.buffers()
            if not texts:
                file.write(memoryview(first)[8 * batch.offset : 8 * (batch.offset + len(batch))])
                continue
            starts = memoryview(first).cast("i")[batch.offset : batch.offset + len(batch) + 1]
            if starts[0] != 0:
                raise ValueError("a batch of texts that does not begin with its buffer")
            file.write(starts)
            file.write(memoryview(texts[0])[: starts[-1]])
    return kind
