"""fits-timm: the largest batch of timm's train benchmark that fitted a card, and the next that did
not. The benchmark: autocast, SGD with momentum, cudnn.benchmark (pytorch-image-models,
benchmark.py)."""
import importlib, pkgutil, re
import zoo
from rows import Bracket, Left, records

SETS = ("fits-timm",)
CARDS = {"RTX 3090": "RTX3090", "A100": "A100-SXM4-40GB", "RTX 4090": "RTX4090", "V100": "V100-SXM2-16GB"}


def families():
    modules = (importlib.import_module(f"zoo.{m.name}") for m in pkgutil.iter_modules(zoo.__path__))
    return [m for m in modules if hasattr(m, "timm")]


def network(name, image):
    """The first family that knows the name; models of 21,843 classes are named so."""
    classes = 21843 if re.search(r"_in2[12]k$", name) else 1000
    for family in families():
        net = family.timm(name, image, classes)
        if net:
            return net
    return None


def training(framework):
    version = re.search(r"PyTorch (\d+\.\d+)", framework)
    return {"optimizer": {"class_name": "SGD", "config": {"learning_rate": 1e-4, "momentum": .9}},
            "torch": {"version": version[1] if version else "1.12", "cudnn_benchmark": True}}


def rows(data):
    for r in records(data, "memory", "fits.jsonl"):
        if "pytorch-image-models" not in r["source"]:
            continue
        config, card = r["config"], CARDS.get(r["device"])
        net = network(r["model"], config["image"]) if card else None
        if not card:
            yield Left(SETS, r["id"], "a card that no table has")
        elif not net:
            yield Left(SETS, r["id"], "a structure that is not written down")
        elif abs(net.params / 1e6 - config["params_m"]) > .006:
            yield Left(SETS, r["id"], "another number of parameters")
        else:
            model = net.model(**training(r["framework"]))
            common = ["--framework", "torch", "--gpu", card]
            if config.get("amp"):
                common += ["--dtype-policy", "mixed_float16"]
            for batch, fits in ((config["batch"], True), ((r["oom"] or {}).get("batch"), False)):
                if batch:
                    yield Bracket(SETS, f"{r['id']} {r['model']} {batch}", fits, model, [*common, "--batch", batch])
