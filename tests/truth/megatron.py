"""Megatron-LM's functional tests: torch's peak of the last rank, which is of the last pipeline stage.

The row's configuration is Megatron's own argument file; only the number of GPUs stands beside it."""
from rows import Left, Row, records

CARDS = (("H100", "H100-80G"), ("GB200", "GB200"), ("A100", "A100-80G"), ("H200", "H200"), ("B200", "B200"))


def last_stage(answer):
    stage = answer["stages"][-1]
    return tuple(stage[f"allocated_{bound}bytes"] for bound in ("", "low_", "high_"))


def states(answer):
    stage = answer["stages"][-1]
    return tuple(stage[f"steady_{bound}bytes"] for bound in ("", "low_", "high_"))


def card(row):
    return next((ours for name, ours in CARDS if name in row["device"]), None)


def number(config, name):
    return int(config.get(name, config.get(name.replace("-", "_"), 1)))


def options(row):
    """Data parallel ranks: what the other degrees leave of the GPUs. None: they do not divide them."""
    config = row["config"]
    ranks = number(config, "tensor-model-parallel-size") * number(config, "pipeline-model-parallel-size") \
        * number(config, "context-parallel-size")
    if not row.get("gpus") or row["gpus"] % ranks:
        return None
    return ["--framework", "megatron", "--gpu", card(row), "--dp", str(row["gpus"] // ranks)]


def arguments(row):
    """The tests train on texts in GPT-2's words unless they name a tokenizer; the record leaves out
    the vocabulary's path."""
    config = dict(row["config"])
    if not {"tokenizer-type", "vocab-size", "padded-vocab-size"} & set(config):
        bert = row["model"].startswith("bert")
        config["tokenizer-type"] = "BertWordPieceLowerCase" if bert else "GPT2BPETokenizer"
    return config


def sets(row):
    if "H100" in row["device"] or "GB200" in row["device"]:
        return ("megatron-golden",), ("megatron-static",)
    return ("megatron-golden-a100",), ()


def bridge(row):
    """Megatron-Bridge and nanotron: Llamas whose sizes the record gives, in Megatron's arguments."""
    c = row["config"]
    sizes = ("layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "seq", "mbs", "gbs", "tp", "dp", "dtype")
    if any(name not in c for name in sizes) or not card(row):
        return Left((row["group"],), row["id"], "the record has no sizes")
    stages = c.get("pp", 1)
    model = {"num-layers": c["layers"], "hidden-size": c["hidden"], "num-attention-heads": c["heads"],
             "group-query-attention": True, "num-query-groups": c["kv_heads"], "ffn-hidden-size": c["ffn"],
             "padded-vocab-size": c["vocab"], "seq-length": c["seq"], "micro-batch-size": c["mbs"],
             "global-batch-size": c["gbs"], "swiglu": True, "normalization": "RMSNorm",
             "disable-bias-linear": True, "position-embedding-type": "rope", "hidden-dropout": 0,
             "attention-dropout": 0, "untie-embeddings-and-output-weights": True, "bf16": True,
             "tensor-model-parallel-size": c["tp"], "pipeline-model-parallel-size": stages,
             "sequence-parallel": c["tp"] > 1, "use-distributed-optimizer": True}
    if "vpp" in c:
        model["num-virtual-stages-per-pipeline-rank"] = c["vpp"]
    if "fp8" in c["dtype"].lower():
        model["fp8-format"] = "hybrid"
    asked = ["--framework", "megatron", "--gpu", card(row), "--dp", str(c["dp"])]
    return Row((row["group"],), row["id"], row["bytes"], model, asked)


def rows(data):
    for row in records(data, "memory", "measured.jsonl"):
        if row.get("group") in ("megatron-bridge", "nanotron"):
            yield bridge(row)
        if row.get("group") != "megatron-golden":
            continue
        golden, static = sets(row)
        asked = options(row) if card(row) else None
        if asked is None:
            yield Left(golden + static, row["id"], "the degrees do not divide the GPUs")
            continue
        label = f"{row['id']} {row['model']}"
        yield Row(golden, label, row["bytes"], arguments(row), asked, last_stage)
        if static and row.get("allocated_steady_bytes"):
            yield Row(static, label, row["allocated_steady_bytes"], arguments(row), asked, states)
