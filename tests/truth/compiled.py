"""Rows of compilers: xla_h100.jsonl (XLA:GPU for an H100) and tf_graph.jsonl (TensorFlow's graph)."""
import os

from keras_models import EXAMPLES
from rows import Left, Row, option, records

MIB = 1 << 20
WORKSPACE = 32 * MIB  # of cuBLASLt: a third of what a large row is
LARGE = 48 * MIB


def model_of(row, data):
    """A path below DATA/keras, or an example's object; None if there is neither."""
    if row["model"] in EXAMPLES:
        return EXAMPLES[row["model"]]()
    path = os.path.join(data, "keras", row.get("set") or "", row["model"])
    return path if os.path.exists(path) else None


def dims(row):
    """Axes of the inputs that the record fixed: every one but the batch, by position."""
    out = []
    for i, (shape, _) in enumerate(row["input_shapes"]):
        out.append(shape[1:])
    return out


def options_of(row, framework):
    fixed = dims(row)
    seq = fixed[0][0] if fixed and fixed[0] else None
    return [*option("framework", framework), *option("batch", row["batch"]), *option("dim", seq),
            *option("dtype-policy", row["dtype_policy"]), *option("optimizer", row["optimizer"]),
            *option("loss", row["loss"]), "--gpu", "H100-80G"]


def xla_sets(row):
    if row.get("devices", 1) > 1:
        return ("xla_h100-sharded",)
    if row["set"] != "layers":
        return ("xla_h100", "xla_h100-models")
    return ("xla_h100", "xla_h100-layers", *(["xla_h100-layers-large"] if row["peak"] >= LARGE else []))


def loaded(answer):
    """kplan's argument + output - alias: what it allocates before the step runs."""
    peak = answer["peak"]
    load = next(p["peak_bytes"] for p in answer["phases"] if p["name"] == "load")
    return load - (peak["bytes"] - peak["allocated_bytes"])


def temp(answer):
    """The figure of small rows: temporaries without the products' workspace."""
    space = sum(t["bytes"] for t in answer["peak_tensors"] if t["what"] == "workspace of the product")
    away = loaded(answer) + space
    peak = answer["peak"]
    return tuple(max(peak[f"allocated_{bound}bytes"] - away, 1) for bound in ("", "low_", "high_"))


def small(row, model, options):
    """The row in a set of its own: workspace would hide everything else."""
    space = row["live_by_kind"].get("workspace", 0)
    measured = row["temp"] - (WORKSPACE if space >= WORKSPACE else 0)
    return Row(("xla_h100-layers-small",), row["id"], measured, model, options, temp)


def xla(data):
    for row in records(data, "memory", "xla_h100.jsonl"):
        if "peak" not in row or row.get("remat") or row["peak"] < MIB:
            continue
        model = model_of(row, data)
        if model is None:
            yield Left(xla_sets(row), row["id"], "no model file")
            continue
        options = options_of(row, "keras-jax") + ["--rnn", "loop"]
        if row.get("devices", 1) > 1:
            options += ["--dp" if row["shard"] == "data" else "--tp", str(row["devices"])]
        yield Row(xla_sets(row), row["id"], row["peak"], model, options)
        if row["set"] == "layers" and row["peak"] < LARGE and row.get("devices", 1) == 1:
            yield small(row, model, options)


def tf_graph(data):
    for row in records(data, "memory", "tf_graph.jsonl"):
        known = row.get("peak_total", 0) >= MIB and not row.get("unknown")
        if row.get("target") != "gpu" or row.get("set") == "layers" or not known:
            continue
        model = model_of(row, data)
        if model is None:
            yield Left(("tf_graph",), row["id"], "no model file")
            continue
        yield Row(("tf_graph",), row["id"], row["peak_total"], model, options_of(row, "keras-tf-graph"))


def rows(data):
    yield from xla(data)
    yield from tf_graph(data)
