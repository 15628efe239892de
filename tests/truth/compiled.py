"""Rows of compilers: xla_h100.jsonl (XLA:GPU for an H100) and tf_graph.jsonl (TensorFlow's graph)."""
import json, os
from dataclasses import dataclass

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


def outer_layers(value):
    """The list of layers of the outermost model in a document; [] if there is none."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = json.loads(value)
    if not isinstance(value, dict):
        return []
    for key in ("model_json", "modelTopology", "model_config", "config"):
        if key in value:
            inner = value[key]
            if key == "config" and isinstance(inner, list):
                return inner
            found = outer_layers(inner)
            if found:
                return found
    return value.get("layers") or []


def inputs_of(model):
    """(name, shape) of the inputs that the model file declares, null where a size is open."""
    if isinstance(model, str):
        try:
            with open(model, encoding="utf-8") as file:
                model = json.load(file)
        except ValueError:
            return []  # an archive
    found = []
    for layer in outer_layers(model):
        config = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(config, dict) and layer.get("class_name") == "InputLayer":
            shape = config.get("batch_shape") or config.get("batch_input_shape") or []
            found.append((config.get("name") or layer.get("name"), shape))
    return found


def fits(shape, known):
    return len(shape) == len(known) and all(a in (None, b) for a, b in zip(shape[1:], known[1:]))


def dims(row, model):
    """Options for the sizes that the file leaves open, as the record has them; inputs in order."""
    declared, out = inputs_of(model), []
    if not declared and row["input_shapes"] and len(row["input_shapes"][0][0]) > 1:
        return option("dim", row["input_shapes"][0][0][1])
    for shape, _ in row["input_shapes"]:
        match = next((d for d in declared if fits(d[1], shape)), None)
        if match:
            declared.remove(match)
            out += [o for axis, (open_, size) in enumerate(zip(match[1], shape)) if axis and open_ is None
                    for o in option("dim", f"{match[0]}:{axis}={size}")]
    return out


def options_of(row, framework, model):
    """The batch of the inputs is the file's own where it fixes one, whatever the record was asked;
    float32 is Keras's own policy: layers with one of theirs keep it."""
    batch = row["input_shapes"][0][0][0] if row["input_shapes"] and row["input_shapes"][0][0] else row["batch"]
    policy = row["dtype_policy"] if row["dtype_policy"] != "float32" else None
    return [*option("framework", framework), *option("batch", batch), *dims(row, model),
            *option("dtype-policy", policy), *option("optimizer", row["optimizer"]),
            *option("loss", row["loss"]), "--gpu", "H100-80G"]


def xla_sets(row):
    if row.get("devices", 1) > 1:
        return ("xla_h100-sharded",)
    if row["set"] != "layers":
        return ("xla_h100", "xla_h100-models")
    return ("xla_h100", "xla_h100-layers", *(["xla_h100-layers-large"] if row["peak"] >= LARGE else []))


def loaded(answer):
    """kplan's argument + output - alias: what is alive around the step, here in the optimizer's
    phase, when all temporaries are gone."""
    return next(p["allocated_bytes"] for p in answer["phases"] if p["name"] == "optimizer")


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


COLLECTIVES = ("xla_h100-sharded-collectives",)


@dataclass(frozen=True)
class Exchanged:
    """Bytes of all collectives of a kind in a step; they are no estimate, so without an interval."""
    op: str

    def __call__(self, answer):
        found = sum(c["bytes"] * c["count"] for c in answer.get("collectives", []) if c["op"] == self.op)
        return (found, found, found)


def exchanged(row, model, options):
    """A row for each kind of collective that the record lists."""
    total = {}
    for one in row["collectives"]:
        op = one["op"].replace("-", "_")
        total[op] = total.get(op, 0) + one["bytes"] * one["count"]
    for op, size in sorted(total.items()):
        yield Row(COLLECTIVES, f"{row['id']} {op}", size, model, options, Exchanged(op))


def xla(data):
    for row in records(data, "memory", "xla_h100.jsonl"):
        if "peak" not in row or row.get("remat") or row["peak"] < MIB:
            continue
        model = model_of(row, data)
        if model is None:
            yield Left(xla_sets(row), row["id"], "no model file")
            continue
        options = options_of(row, "keras-jax", model) + ["--rnn", "loop"]
        if row.get("devices", 1) > 1:
            options += ["--dp" if row["shard"] == "data" else "--tp", str(row["devices"])]
        yield Row(xla_sets(row), row["id"], row["peak"], model, options)
        if row.get("collectives"):
            yield from exchanged(row, model, options)
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
        options = options_of(row, "keras-tf-graph", model)
        yield Row(("tf_graph",), row["id"], row["peak_total"], model, options)
        if row.get("bfc_in_use"):
            yield Row(("tf_graph-reserved",), row["id"], row["bfc_in_use"], model, options, "reserved")


def rows(data):
    yield from xla(data)
    yield from tf_graph(data)
