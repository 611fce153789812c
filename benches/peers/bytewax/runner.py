"""Bytewax, one worker in this process, batches of 65,536 rows: Python callbacks over a stream, no recovery."""

import gc
from datetime import timedelta
from importlib.metadata import version

import bytewax.operators as op
import pyarrow as pa
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

import peer
from flows import FLOWS
from rows import batched, in_turn, rows

BATCH_ROWS = 65536


class Batches(DynamicSource):
    def __init__(self, batches):
        self.batches = batches

    def build(self, step_id, worker_index, worker_count):
        return Partition(iter(self.batches))


class Partition(StatelessSourcePartition):
    def __init__(self, batches):
        self.batches = batches

    def next_batch(self):
        return next(self.batches)


class Sink(DynamicSink, StatelessSinkPartition):
    """Gives `take` every batch of the answer."""

    def __init__(self, take):
        self.take = take

    def build(self, step_id, worker_index, worker_count):
        return self

    def write_batch(self, items):
        self.take(items)


def keyed_batches(request, flow):
    bids = batched(rows(request, request.bids, flow.columns), BATCH_ROWS)
    return ([(str(key), price) for key, price in batch] for batch in bids) if flow.keyed else bids


def join_batches(request):
    persons = batched(rows(request, "person", ("id", "name", "city", "state", "date_time")), peer.BATCH_ROWS)
    auctions = batched(rows(request, "auction", ("seller", "id", "date_time")), peer.BATCH_ROWS)
    for side, batch in in_turn(persons, auctions):
        if side == 0:
            yield [(str(id), (name, city, state)) for id, name, city, state, _ in batch]
        else:
            yield [(str(seller), id) for seller, id, _ in batch]


class Run(peer.Job):
    def __init__(self, request, flow):
        super().__init__(request)
        self.flow = flow
        self.decoded = list(self.batches()) if request.source == "memory" else None
        # Millions of decoded rows would otherwise be walked by the garbage collector during the run.
        gc.collect()
        gc.freeze()

    def batches(self):
        if self.request.workload.startswith("d_"):
            return join_batches(self.request)
        return keyed_batches(self.request, self.flow)

    def flow_into(self, take):
        flow = Dataflow("peer")
        source = self.batches() if self.decoded is None else self.decoded
        stream = self.flow.build(op.input("rows", flow, Batches(source)))
        op.output("answer", stream, Sink(take))
        run_main(flow, epoch_interval=timedelta(seconds=10))

    def run(self):
        counted = [0]

        def count(items):
            counted[0] += len(items)

        self.flow_into(count)
        return counted[0]

    def rows_out(self, result):
        return result

    def answer(self):
        taken = []
        self.flow_into(taken.extend)
        schema = self.request.answer
        columns = list(zip(*self.flow.tuples(taken))) or [()] * len(schema)
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema)], schema=schema)

    def close(self):
        gc.unfreeze()


def load(request):
    if request.workload not in FLOWS:
        raise peer.Unsupported("Bytewax has no changelogs and no relational join")
    return Run(request, FLOWS[request.workload])


peer.serve(version("bytewax"), load)
