"""Published peaks of Keras on TensorFlow (group keras-tf): rows whose layers and batch are stated."""
import re

from keras_models import dense, layer, sequential
from rows import Left, Row, option, records

SETS = ("keras-tf",)
MEMORY = re.compile(r"(\d+) ?GB")
WINDOWS = re.compile(r"Conv3D ([\d,]+) k(\d) (\w+) \+ MaxPool3D \+ BN")


def model_of(config):
    """A chain written as 'Conv3D 64,128 k3 relu + MaxPool3D + BN; GAP; Dense512 relu; …'; None if it is not one."""
    parts = [p.strip() for p in config.get("layers", "").split(";")]
    first = WINDOWS.fullmatch(parts[0])
    if not first or "input" not in config:
        return None
    layers, size = [], int(first[2])
    for i, filters in enumerate(first[1].split(",")):
        layers += [layer("Conv3D", name=f"conv_{i}", filters=int(filters), kernel_size=[size] * 3, activation=first[3]),
                   layer("MaxPooling3D", name=f"pool_{i}", pool_size=[2, 2, 2]),
                   layer("BatchNormalization", name=f"norm_{i}")]
    for i, part in enumerate(parts[1:]):
        units, rate = re.fullmatch(r"Dense(\d+) ?(\w*)", part), re.fullmatch(r"Dropout ([\d.]+)", part)
        if part == "GAP":
            layers.append(layer("GlobalAveragePooling3D", name="average"))
        elif units:
            last = i == len(parts) - 2 and not units[2]
            layers.append(dense(f"dense_{i}", int(units[1]), "softmax" if last else units[2] or "linear"))
        elif rate:
            layers.append(layer("Dropout", name=f"dropout_{i}", rate=float(rate[1])))
        else:
            return None
    return sequential("published", [int(n) for n in config["input"].split("x")], *layers)


def rows(data):
    for row in records(data, "memory", "measured.jsonl"):
        if row.get("group") != "keras-tf":
            continue
        config = row["config"]
        model = model_of(config)
        if model is None:
            yield Left(SETS, row["id"], "the layers are not stated")
        elif not isinstance(config.get("batch"), int):
            yield Left(SETS, row["id"], "the batch is not stated")
        else:
            memory = MEMORY.search(row["device"])
            options = [*option("framework", "keras-tf-graph"), *option("batch", config["batch"]),
                       *option("dtype-policy", config.get("dtype")), *option("loss", config.get("loss")),
                       *option("optimizer", config.get("optimizer", "").lower() or None),
                       *option("memory", f"{memory[1]}G" if memory else None)]
            yield Row(SETS, row["id"], row["bytes"], model, options)
