"""Brackets of transformers: MPT under FSDP (llm-foundry's benchmarks), BERT on one card (its README)."""
import re

from rows import Bracket, Left, option, records

MPT = {  # width, heads, layers: scripts/train/yamls/pretrain of llm-foundry
    "125m": (768, 12, 12), "350m": (1024, 16, 24), "760m": (1536, 12, 24), "1b": (2048, 16, 24), "3b": (2560, 20, 32),
    "7b": (4096, 32, 32), "13b": (5120, 40, 40), "30b": (7168, 56, 48), "70b": (8192, 64, 80)}
VOCABULARY = 50368
CARDS = {"h100_80gb": "H100-80G", "a100_80gb": "A100-80G", "a100_40gb": "A100-40G"}
PRECISIONS = {"amp_bf16": "mixed_bfloat16", "amp_fp16": "mixed_float16", "bf16": "mixed_bfloat16"}
ZERO = {"FULL_SHARD": 3, "SHARD_GRAD_OP": 2, "NO_SHARD": 0}


def mpt_model(size, seq):
    width, heads, layers = MPT[size]
    return {"model_type": "mpt", "d_model": width, "n_heads": heads, "n_layers": layers, "vocab_size": VOCABULARY,
            "max_seq_len": seq, "expansion_ratio": 4, "no_bias": False, "learned_pos_emb": True,
            "tie_word_embeddings": True}


def mpt(data):
    sets = ("fits-mosaicml",)
    for row in records(data, "memory", "fits.jsonl"):
        if not row["source"].startswith("mosaicml"):
            continue
        c, size = row["config"], row["model"].removeprefix("MPT-").lower()
        label = f"{row['id']} {row['model']} seq {c['seq']} micro-batch {c['micro_batch']} x {c['gpus']} {row['device']} {c['precision']}"
        if size not in MPT or row["device"] not in CARDS or c["sharding"] not in ZERO:
            yield Left(sets, label, "no such model, card or sharding")
            continue
        if c["precision"] not in PRECISIONS or c.get("offload_act") == "True":
            yield Left(sets, label, f"precision {c['precision']}, activations offloaded: {c.get('offload_act')}")
            continue
        gpus, micro, accum = int(c["gpus"]), int(c["micro_batch"]), int(c["grad_accum"])
        options = ["--framework", "torch", "--gpu", CARDS[row["device"]], "--dp", gpus, "--tp", 1, "--pp", 1,
                   "--zero", ZERO[c["sharding"]], "--batch", micro * gpus * accum, "--micro-batch", micro,
                   "--seq", c["seq"], "--optimizer", "lion", "--loss", "fused_cross_entropy", "--dtype-policy", PRECISIONS[c["precision"]],
                   "--recompute", "full" if c["recompute"] == "True" else "none"]
        yield Bracket(sets, label, row["fits"], mpt_model(size, int(c["seq"])), options)


def tensorflow(framework):
    version = re.search(r"TensorFlow (\d+\.\d+)", framework)
    return {"tensorflow": {"version": version[1]}} if version else {}


def bert(data):
    sets = ("fits-bert",)
    for row in records(data, "memory", "fits.jsonl"):
        if "bert" not in row["source"]:
            continue
        c = row["config"]
        memory = re.search(r"(\d+)GB", row["device"])
        model = {"model_type": "bert", "vocab_size": 30522, "type_vocab_size": 2, "max_position_embeddings": 512,
                 "hidden_size": c["hidden"], "num_hidden_layers": c["layers"], "num_attention_heads": c["heads"],
                 "intermediate_size": 4 * c["hidden"], "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
                 "attention_probs_dropout_prob": 0.1, **tensorflow(row["framework"])}
        for batch, fits in ((c["max_batch"], True), ((row["oom"] or {}).get("batch"), False)):
            label = f"{row['id']} {row['model']} seq {c['seq']} batch {batch}"
            if batch:
                options = ["--framework", "keras-tf-graph", *option("memory", memory and f"{memory[1]}G"),
                           "--batch", batch, "--seq", c["seq"], "--optimizer", "adamw"]
                yield Bracket(sets, label, fits, model, options)


def rows(data):
    yield from mpt(data)
    yield from bert(data)
