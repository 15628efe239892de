"""Rows of transformers' pages: BERT's device memory on one card (hf-docs); those that only run (hf-tf)
and those that leave the model or the card open (misc) are listed with the reason."""
from rows import Left, Row, option, records

POLICIES = {"fp32": "float32", "fp16 amp": "mixed_float16", "bf16 amp": "mixed_bfloat16"}
OPTIMIZERS = {"AdamW": "adamw", "adafactor": "adafactor", "SGD": "sgd"}
CARDS = {"V100 16GB": "V100-SXM2-16GB", "V100 32GB": "V100-SXM2-32GB", "A100 80GB": "A100-80G", "A100 40GB": "A100-40G"}

# The pages that measure on a V100 are of 2022, with torch 1.10 (their context of 1343 MiB is that version's).
VERSION, OLD = "1.10", ("V100 16GB", "V100 32GB")


def bert(c, device):
    return {"model_type": "bert", "vocab_size": c["vocab"], "type_vocab_size": 2, "max_position_embeddings": 512,
            "hidden_size": c["hidden"], "num_hidden_layers": c["layers"], "num_attention_heads": c["heads"],
            "intermediate_size": c["ffn"], "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            **({"torch": {"version": VERSION}} if device in OLD else {}),
            "attn_implementation": "eager" if c.get("attention", "").startswith("eager") else "sdpa"}


def reason(row):
    c = row["config"]
    if row["mode"] != "train" or "stage" in c:
        return "no training step"
    if not row["model"].startswith("bert"):
        return "the model is not said in sizes"
    if row["device"] not in CARDS:
        return "the card is not said"
    if c["optimizer"] not in OPTIMIZERS or c["dtype"] not in POLICIES:
        return f"{c['optimizer']}, {c['dtype']}"
    return None


def rows(data):
    for row in records(data, "memory", "measured.jsonl"):
        if row["group"] not in ("hf-docs", "hf-tf", "misc"):
            continue
        c, sets, label = row["config"], (row["group"],), f"{row['id']} {row['model']}"
        why = reason(row)
        if why:
            yield Left(sets, label, why)
            continue
        batch, accum = int(c["batch"]), int(c.get("grad_accum", 1))
        options = ["--framework", "torch", "--gpu", CARDS[row["device"]], "--batch", batch * accum, "--micro-batch", batch,
                   "--dp", 1, "--tp", 1, "--pp", 1, "--seq", c["seq"], "--optimizer", OPTIMIZERS[c["optimizer"]],
                   "--dtype-policy", POLICIES[c["dtype"]], *option("recompute", c.get("recompute"))]
        label += f" batch {batch} x {accum} {c['optimizer']} {c['dtype']} {c.get('recompute') or ''}"
        yield Row(sets, label, row["bytes"], bert(c, row["device"]), options, "bytes")
