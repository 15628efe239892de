"""xmem: torchvision's image classifiers, three steps on a card; what the process reserved."""
import re
from rows import Left, Row, records
from schedtune import network

SETS = ("xmem",)
CARDS = {"RTX 3060 12GB": "RTX3060-12GB", "RTX 4060 8GB": "RTX4060-8GB"}
OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "Adagrad": "adagrad", "RMSprop": "rmsprop"}


# The tool's names of torchvision's functions, and the classes of those that it builds itself
# (Stone-ResearchLife/xMem, perf_estimator/models.py).
NAMES = ((r"ConvNeXt(\w+)", r"convnext_\1", 1000), (r"MobileNetV2", "mobilenet_v2", 1000),
         (r"Mobi?l?eNetV3(\w+)", r"mobilenet_v3_\1", 10), (r"MnasNet", "mnasnet1_0", 10),
         (r"RegNet([XY])(\d+[MG]F)", r"regnet_\1_\2", 1000), (r"(\w+)", r"\1", 1000))


def built(name, image):
    pattern, other, classes = next(n for n in NAMES if re.fullmatch(n[0], name))
    return network(re.sub(pattern, other, name).lower(), image, classes)


def rows(data):
    for r in records(data, "memory", "measured.jsonl"):
        if r["group"] != "xmem":
            continue
        config, size = r["config"], re.fullmatch(r"(\d+)x(\d+)x3", r["config"]["input"])
        net = built(r["model"], [int(size[1]), int(size[2])]) if size else None
        optimizer, card = OPTIMIZERS.get(config["optimizer"]), CARDS.get(r["device"])
        version = re.search(r"\d+\.\d+", r["framework"])
        if not size:
            yield Left(SETS, r["id"], "the length of a sample is not stated")
        elif not net or not optimizer or not card:
            yield Left(SETS, r["id"], "a structure, an optimizer or a card that is not written down")
        else:
            model = net.model({"class_name": "SGD"}, torch={"version": version[0]} if version else {})
            yield Row(SETS, f"{r['id']} {r['model']} {config['batch']}", r["bytes"], model,
                      ["--framework", "torch", "--batch", config["batch"], "--gpu", card, "--optimizer", optimizer],
                      "reserved")
