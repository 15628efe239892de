"""Models of reported cases as XLA:GPU compiles their training step for an H100:
cases/xla_h100.jsonl beside cases/<name>/model.json."""
import os

from compiled import options_of
from rows import Left, Row, records

SETS = ("cases-xla",)


def rows(data):
    for row in records(data, "cases", "xla_h100.jsonl"):
        if "peak" not in row or row.get("remat"):
            continue
        name = os.path.splitext(os.path.basename(row["model"]))[0]
        path = os.path.join(data, "cases", name, "model.json")
        if not os.path.exists(path):
            yield Left(SETS, row["id"], "no model file")
            continue
        options = options_of(row, "keras-jax", path) + ["--rnn", "loop"]
        yield Row(SETS, row["id"], row["peak"], path, options)
