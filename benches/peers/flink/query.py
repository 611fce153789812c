"""What Flink is asked, and how."""

from dataclasses import dataclass

MINI_BATCH = 20000


@dataclass(frozen=True)
class Query:
    """`mini_batch` is in rows, 0 without. `changes` is `upsert` (no old rows) or `all`. `form` is `ROWS` where each row
    that comes out is one of the answer, `CHANGES` where it is what a changelog folds to, and `LAST` where it is the last
    row of each key: the first `keys` columns. `behind_s` is how many seconds the watermark stays behind `date_time`,
    where there is one, and `clock` the column of each table that says what the clock says. `lookups` are made too."""

    text: str
    form: str = "ROWS"
    mini_batch: int = 0
    changes: str = "upsert"
    behind_s: int | None = None
    keys: int = 0
    clock: str | None = None
    lookups: tuple = ()

    @property
    def settings(self):
        return batched(self.mini_batch)

    @property
    def answer_settings(self):
        """What a changelog folds to is the same with mini-batches, and without them it may be longer than the input."""
        return batched(self.mini_batch or MINI_BATCH if self.form == "CHANGES" else self.mini_batch)


def batched(rows):
    if not rows:
        return {}
    name = "table.exec.mini-batch"
    return {f"{name}.enabled": "true", f"{name}.allow-latency": "1s", f"{name}.size": str(rows)}


def changing(text, mini_batch=MINI_BATCH, changes="upsert"):
    return Query(text, form="CHANGES", mini_batch=mini_batch, changes=changes)


def first_of(keys, text):
    """The first row of each key. Flink's operator for it says what is new alone, whatever is asked for."""
    return Query(text, form="LAST", keys=keys)
