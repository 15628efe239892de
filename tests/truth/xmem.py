"""xmem: torchvision's image classifiers, three steps on a card; what the process reserved."""
import re
from rows import Left, Row, records
from schedtune import network

SETS = ("xmem",)
CARDS = {"RTX 3060 12GB": "RTX3060-12GB", "RTX 4060 8GB": "RTX4060-8GB"}
OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "Adagrad": "adagrad", "RMSprop": "rmsprop"}


def spelled(name):
    """ConvNeXtTiny, ResNet101, VGG16 as torchvision's functions are called."""
    m = re.fullmatch(r"ConvNeXt(\w+)", name)
    return f"convnext_{m[1].lower()}" if m else name.lower()


def rows(data):
    for r in records(data, "memory", "measured.jsonl"):
        if r["group"] != "xmem":
            continue
        config, size = r["config"], re.fullmatch(r"(\d+)x(\d+)x3", r["config"]["input"])
        net = network(spelled(r["model"]), [int(size[1]), int(size[2])]) if size else None
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
