"""schedtune: torchvision's image classifiers in training on five cards, device memory used."""
import re
from rows import Left, Row, records
from zoo import convnext, efficientnet, plain, regnet, resnet

SETS = ("schedtune",)
FAMILIES = (resnet, plain, convnext, efficientnet, regnet)
CARDS = (("K80", "K80-12GB"), ("2070", "RTX2070-SUPER-8GB"), ("3070", "RTX3070-8GB"), ("V100", "V100-SXM2-16GB"),
         ("3090", "RTX3090"))
# The optimizer is not stated: that of PyTorch's own training script for these models. The records
# are of 2021.
TRAINING = {"optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1, "momentum": 0.9}},
            "torch": {"version": "1.10"}}


def network(name, image, classes=1000):
    for family in FAMILIES:
        net = family.torchvision(name, image, classes)
        if net:
            return net
    return None


def counted(name, image, mib):
    """The network of the name; if it has another number of parameters than the record says, the one
    of the same family that has it."""
    family = re.match(r"[a-z_]+", name)[0]
    for other in (name, *(name.replace(name[len(family):], str(depth)) for depth in range(10, 270))):
        net = network(other, image)
        if net and abs(net.params * 4 / 2**20 / mib - 1) <= .015:
            return net
    return None


def rows(data):
    for r in records(data, "memory", "measured.jsonl"):
        if r["group"] != "schedtune":
            continue
        config, card = r["config"], next((c for word, c in CARDS if r["device"].startswith(word) or
                                          word in r["device"].split(" by ")[0]), None)
        size = [int(n) for n in config["image"].split("x")]
        net = network(r["model"], size[:2]) and counted(r["model"], size[:2], config["params_mib"])
        if not card:
            yield Left(SETS, r["id"], "a card that no table has")
        elif not net:
            yield Left(SETS, r["id"], "a structure that is not written down")
        else:
            yield Row(SETS, f"{r['id']} {r['model']} {config['batch']} {card}", r["bytes"], net.model(**TRAINING),
                      ["--framework", "torch", "--batch", config["batch"], "--gpu", card], "bytes")
