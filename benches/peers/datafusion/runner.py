"""DataFusion, one partition: each query computed once over all rows and delivered as an Arrow table."""

import datafusion
from datafusion import SessionConfig, SessionContext

import peer
import queries

# One list per auction cut into tens is seven times as fast as numbering the bids in a window. With one
# partition array_agg() sees the rows in their order; the harness's check would show if it did not.
COLLECT = """
    SELECT auction, array_slice(prices, first, first + 9) AS prices
    FROM (SELECT auction, prices, unnest(range(1, CAST(array_length(prices) AS BIGINT) + 1, 10)) AS first
          FROM (SELECT auction, array_agg(price) AS prices FROM {bids} GROUP BY auction))"""


class Query(peer.Job):
    def __init__(self, request, text):
        super().__init__(request)
        self.context = SessionContext(SessionConfig().with_target_partitions(1))
        for table in request.tables:
            self.register(request, table)
        placed = f"(SELECT *, row_number() OVER () AS place FROM {request.bids})"
        self.text = text.format(bids=request.bids, placed=placed)

    def register(self, request, table):
        path, schema = request.path(table), request.schema(table)
        if request.source == "memory":
            self.context.register_record_batches(table, [request.read(table).to_batches()])
        elif request.source == "arrow":
            self.context.register_arrow(table, path)
        elif request.source == "parquet":
            self.context.register_parquet(table, path)
        elif request.source == "csv":
            self.context.register_csv(table, path, schema=schema)
        else:
            self.context.register_json(table, path, schema=schema, file_extension=".jsonl")

    def run(self):
        return self.context.sql(self.text).to_arrow_table()


def load(request):
    text = COLLECT if request.workload == "f_collect" else queries.SQL.get(request.workload)
    if text is None:
        raise peer.Unsupported("DataFusion computes an answer once, and has no changelog or keyed join modes")
    return Query(request, text)


peer.serve(datafusion.__version__, load)
