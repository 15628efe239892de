"""Rows of torchtitan and torchtune: Llama models whose sizes the record has. torchtune's batches are
sentences of a data set, whose length the record does not have."""
from rows import Left, Row, option, records

GPUS = {"H100 96GB HBM2e": "H100-SXM5-96GB-HBM2e-500W", "H200": "H200-SXM5-141GB", "A100": "A100-80G", "A6000": "RTXA6000"}
RECOMPUTE = {None: "none", "none": "none", "full": "full"}
KEYS = {"layers": "num_hidden_layers", "hidden": "hidden_size", "heads": "num_attention_heads",
        "kv_heads": "num_key_value_heads", "ffn": "intermediate_size", "vocab": "vocab_size"}


def llama(c):
    model = {"model_type": "llama", **{name: c[key] for key, name in KEYS.items()}}
    return {**model, "tie_word_embeddings": c["hidden"] < 4096}  # those of Llama 3.2 are tied


def reason(row):
    """Why a record cannot be asked; None: it can."""
    c, device = row["config"], row["device"]
    if any(key not in c for key in KEYS):
        return "sizes of the model are not said"
    if device not in GPUS:
        return "another card"
    if row["group"] == "torchtune":
        return "the length of the sentences is not said"
    if "seq" not in c:
        return "the sequence is not said"
    variant = c.get("variant") or c.get("cumulative_variant") or ""
    if variant not in ("eager", "baseline"):
        return f"variant {variant}"
    if c.get("cp", 1) != 1:
        return "context parallelism"
    if c.get("recompute") not in RECOMPUTE:
        return f"recomputation of {c['recompute']}"
    return None


def rows(data):
    for row in records(data, "memory", "measured.jsonl"):
        if row["group"] not in ("torchtitan", "torchtune"):
            continue
        c, sets, label = row["config"], (row["group"],), f"{row['id']} {row['model']}"
        why = reason(row)
        if why:
            yield Left(sets, label, why)
            continue
        dp = int(c.get("fsdp", 1))
        batch = int(c.get("local_batch") or c["batch"])
        policy = "mixed_bfloat16" if "mixed" in c["dtype"] else "bfloat16"
        options = ["--framework", "torch", "--gpu", GPUS[row["device"]], "--dp", dp, "--tp", 1, "--pp", 1,
                   "--zero", 3 if dp > 1 else 0, "--batch", batch * dp, "--micro-batch", batch, "--seq", c["seq"],
                   "--optimizer", c["optimizer"].lower(), "--dtype-policy", policy,
                   *option("recompute", RECOMPUTE[c.get("recompute")])]
        yield Row(sets, label, row["bytes"], llama(c), options, "reserved" if "reserved" in row["kind"] else "allocated")
