"""Reported cases: cases/<name>/case.json beside the model file of each.

Every parameter total is asked for; facts that say whether a configuration fitted, what it took or
which request failed are used where the report is certain (its own field) and the card is known, or
not needed."""
import json
import math
import os
import re

from rows import Bracket, Left, Row, option

GIB = 1 << 30
FITS, PEAK, MESSAGE, PARAMS = ("fits-cases",), ("cases-peak",), ("cases-message",), ("cases-params",)

# What a report calls its framework, and what runs the step; the first that is named counts.
FRAMEWORKS = [("Megatron", "megatron"), ("PyTorch", "torch"), ("torchtune", "torch"), ("Hugging Face", "torch"),
              ("axolotl", "torch"), ("DeepSpeed", "torch"), ("JAX", "keras-jax"), ("XLA", "keras-tf"),
              ("TensorFlow", "keras-tf-graph"), ("Keras", "keras-tf-graph"), ("keras", "keras-tf-graph"),
              ("Theano", "keras-tf-graph")]
OPTIMIZERS = {"adam": "adam", "adamw": "adamw", "pagedadamw": "adamw", "rmsprop": "rmsprop", "adamax": "adamax",
              "sgd": "sgd", "adam/lamb": "adam", "lamb": "lamb", "adafactor": "adafactor", "adagrad": "adagrad"}
LOSSES = {"mse": "mse", "sparse softmax cross entropy": "sparse_categorical_crossentropy"}
# What 16 bits mean: copies of float32 weights, or weights that have a float32 master copy.
POLICIES = {"megatron": "bfloat16", "torch": "mixed_bfloat16"}


def first(value):
    return value[0] if isinstance(value, list) and value else None if isinstance(value, list) else value


def framework_of(case):
    return next((to for word, to in FRAMEWORKS if word in case["framework"]), None)


def policy_of(case, framework):
    precision = case["settings"].get("precision") or ""
    if "16" not in precision:
        return None
    return POLICIES.get(framework, "mixed_float16")


def card_of(case, fact):
    """--gpu where the name is one that kplan lists, else the bytes."""
    gpu = case["gpu"]
    named = re.fullmatch(r"(\w+) (\d+) GB", gpu["name"] or "")
    memory = fact.get("gpu_memory_bytes") or gpu.get("memory_bytes")
    if not memory:
        return None
    if named and "gpu_memory_bytes" not in fact:
        return option("gpu", f"{named[1]}-{named[2]}G")
    return option("memory", memory)


def degrees_of(case, fact):
    """(dp, options) of the fact's strategy."""
    parallel = case["settings"].get("parallel") or {}
    said = {k: fact.get(k, first(parallel.get(k))) for k in ("dp", "tp", "pp", "zero", "recompute")}
    if "FULL_SHARD" in str(parallel.get("fsdp")):
        said["zero"] = 3
    if fact.get("gpus") and parallel.get("dp"):
        said["dp"] = fact["gpus"] // ((said["tp"] or 1) * (said["pp"] or 1))
    options = [o for k, v in said.items() if v is not None for o in option(k, v)]
    return said["dp"] or 1, options


def options_of(case, fact):
    settings, framework = case["settings"], framework_of(case)
    dp, options = degrees_of(case, fact)
    micro = fact.get("micro_batch", first(settings.get("micro_batch")))
    batch = fact.get("global_batch") or fact.get("batch") or first(case.get("batch"))
    per_gpu = framework in ("torch", "megatron") or "parallel" in settings and micro is not None
    if per_gpu and (micro or batch):
        batch = (fact.get("batch") or micro or batch) * dp
    loss = settings.get("loss")
    return [*option("framework", framework), *option("batch", batch),
            *option("seq", fact.get("seq", first(settings.get("seq")))),
            *option("dtype-policy", policy_of(case, framework)),
            *option("optimizer", OPTIMIZERS.get((settings.get("optimizer") or "").lower())),
            *option("loss", LOSSES.get(loss, loss)), *options]


def runs_eager(case):
    """transformers had no fused attention for its own models before version 4.36, December 2023."""
    dated = re.search(r"Hugging Face.*\b(20\d\d)\b", case["framework"])
    return bool(dated) and int(dated[1]) <= 2023


def model_of(case, fact, folder):
    if fact.get("embedding_dim") and os.path.exists(os.path.join(folder, f"model_{fact['embedding_dim']}.json")):
        return os.path.join(folder, f"model_{fact['embedding_dim']}.json")
    path = os.path.join(folder, case["model"])
    if not runs_eager(case):
        return path
    with open(path, encoding="utf-8") as file:
        return {**json.load(file), "attn_implementation": "eager"}


# ---- facts ----


def totals(fact):
    """The parameters of the whole model, or of the layer named."""
    def find(layers):
        for layer in layers:
            if layer["name"] == fact["layer"]:
                return layer["params"]
            inner = find(layer.get("layers") or [])
            if inner is not None:
                return inner
        return None

    def figure(answer):
        found = find(answer["layers"]) if "layer" in fact else answer["params"]["total"]
        return (found or 0,) * 3
    return figure


def peak_of(fact):
    """The whole, or what a forward pass adds."""
    def figure(answer):
        of, name = answer["peak"], ""
        if fact.get("category") == "activations":
            of, name = answer["stages"][0], "kept_"
        return of[f"{name}bytes"], of[f"{name}low_bytes"], of[f"{name}high_bytes"]
    return figure


def message_of(fact):
    """The report's own words about the request, as its framework prints them."""
    if "shape" in fact:
        shape = ",".join(map(str, fact["shape"]))
        return f"OOM when allocating tensor with shape[{shape}] and type float", 4 * math.prod(fact["shape"])
    return f"Error allocating {fact['bytes']} bytes of device memory (out of memory).", fact["bytes"]


def matched(answer):
    found = answer["message"]["matches"]
    return ((found[0]["bytes"] or 0) if found else 0,) * 3


def of_fact(case, fact, folder):
    kind, label = fact["kind"], f"{case['id']} {json.dumps({k: v for k, v in fact.items() if k != 'note'})}"
    model, certain = model_of(case, fact, folder), case["certainty"] == "high"
    sets = {"fits": FITS, "oom": FITS, "peak_bytes": PEAK, "failed_tensor_shape": MESSAGE,
            "tried_to_allocate": MESSAGE, "params": PARAMS}.get(kind)
    if not sets:
        return
    if kind == "params":
        yield Row(sets, label, fact["total"], model, option("seq", None), totals(fact), "summary")
        return
    if not certain:
        yield Left(sets, label, f"certainty {case['certainty']}")
        return
    card = card_of(case, fact)
    if sets == FITS and not card:
        yield Left(sets, label, "the card is not known")
        return
    if not isinstance(fact.get("model", ""), str) or "model" in fact:
        yield Left(sets, label, "of another model")
        return
    options = options_of(case, fact) + (card or [])
    if sets == FITS:
        phase = {"evaluate": "eval", "predict": "eval"}.get(fact.get("phase"))
        yield Bracket(sets, label, kind == "fits", model, options, phase)
    elif sets == PEAK:
        yield Row(sets, label, fact.get("bytes") or fact["active_bytes"], model, options, peak_of(fact))
    else:
        text, size = message_of(fact)
        yield Row(sets, label, size, model, options + ["--error", text], matched)


def rows(data):
    top = os.path.join(data, "cases")
    names = sorted(os.listdir(top)) if os.path.isdir(top) else []
    for name in names:
        path = os.path.join(top, name, "case.json")
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as file:
            case = json.load(file)
        for fact in case["facts"]:
            yield from of_fact(case, fact, os.path.join(top, name))
