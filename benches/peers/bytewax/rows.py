"""Tables as batches of Python tuples, from every kind of file that the measured time may include."""

import csv
import itertools
import json

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as parquet

import peer


def of_batch(batch, names):
    return zip(*[batch.column(name).to_pylist() for name in names])


def of_arrow(path, names):
    with pa.memory_map(path) as file:
        reader = ipc.open_file(file)
        for i in range(reader.num_record_batches):
            yield from of_batch(reader.get_batch(i), names)


def of_parquet(path, names):
    for batch in parquet.ParquetFile(path).iter_batches(columns=list(names)):
        yield from of_batch(batch, names)


def of_csv(path, names, kinds):
    with open(path, newline="") as file:
        lines = csv.reader(file)
        header = next(lines)
        fields = [(int if kinds[name] == peer.LONG else str, header.index(name)) for name in names]
        for line in lines:
            yield tuple([kind(line[i]) for kind, i in fields])


def of_jsonl(path, names):
    with open(path) as file:
        for line in map(json.loads, file):
            yield tuple([line[name] for name in names])


def rows(request, table, names):
    path = request.path(table)
    if request.source in ("memory", "arrow"):
        return of_arrow(path, names)
    if request.source == "parquet":
        return of_parquet(path, names)
    if request.source == "csv":
        return of_csv(path, names, peer.TABLES[table])
    return of_jsonl(path, names)


def batched(rows, size):
    rows = iter(rows)
    while batch := list(itertools.islice(rows, size)):
        yield batch


def in_turn(left, right):
    """Both sides' batches in order of arrival: the side whose next one begins earlier, the left one if equal.

    A row's last field is its time. Neighbours of one side become one batch, which favours Bytewax and moves no row.
    """
    sides = [iter(left), iter(right)]
    heads = [next(side, None) for side in sides]
    batch, side = [], 0
    while any(heads):
        nearest = min((head[0][-1], i) for i, head in enumerate(heads) if head)[1]
        if batch and nearest != side:
            yield side, batch
            batch = []
        side = nearest
        batch += heads[side]
        heads[side] = next(sides[side], None)
    if batch:
        yield side, batch
