"""Rows of Galvatron's profiler (PKU-DAIR Hetu-Galvatron): a few layers of a model under torch's FSDP
with every degree of tensor and pipeline parallelism, all samples in one micro-batch.

Its models are Megatron's modules: the model file is Megatron's arguments. States and activations are
figures of the first or the last stage, by the rank."""
from rows import Left, OfStage, Row, records

# What the profiler's models are where a row does not say: transformers' configurations.
FAMILIES = {
    "gpt": {"vocab": 50257},
    "llama": {"vocab": 32000, "ffn": 11008, "gated": True},
    "baichuan": {"vocab": 64000, "ffn": 11008, "gated": True},
    "qwen2.5": {"vocab": 152064, "gated": True},
}
FIGURES = {
    "allocated model states after init+step": "steady",
    "allocated activations after forward (minus states)": "kept",
    "peak during iteration minus states": "above_steady",
}


def family_of(row):
    """By the model that the configuration names, else by the folder of the profile."""
    for name in (row["config"].get("model_cfg"), row["model"]):
        found = [f for f in FAMILIES if name and name.startswith(f)]
        if found:
            return FAMILIES[found[0]]
    return None


def model_of(c, family):
    gated = family.get("gated", False)
    model = {"num_layers": int(c["layers"]), "hidden_size": c["hidden"], "num_attention_heads": c["heads"],
             "seq_length": c["seq"], "max_position_embeddings": c["seq"], "bf16": True,
             "ffn_hidden_size": c.get("ffn") or family.get("ffn") or 4 * c["hidden"],
             "padded_vocab_size": c.get("vocab") or family["vocab"], "use_flash_attn": True,
             "untie_embeddings_and_output_weights": True, "fp16_lm_cross_entropy": True,
             "pipeline_model_parallel_size": c["pp"], "sequence_parallel": "sp" in c["flags"]}
    if "vtp" not in c["flags"]:
        model["vocab_tp"] = 1
    if c.get("kv_heads"):
        model.update(group_query_attention=True, num_query_groups=c["kv_heads"])
    if gated:
        model.update(swiglu=True, normalization="RMSNorm", position_embedding_type="rope", disable_bias_linear=True,
                     attention_dropout=0, hidden_dropout=0)
    return model


def rows(data):
    for row in records(data, "memory", "measured.jsonl"):
        if row.get("group") != "galvatron-profile":
            continue
        c, family = row["config"], family_of(row)
        figure = FIGURES.get(row["kind"])
        missing = [k for k in ("layers", "hidden", "heads", "seq", "global_batch") if not c.get(k)]
        if missing or not family or not figure:
            yield Left(("galvatron-profile",), row["id"], f"no {missing[0]} in the row" if missing else
                       "a model or a figure that is not known")
            continue
        world = c["pp"] * c["tp"] * c["dp"]
        options = ["--framework", "torch", "--dtype-policy", "mixed_bfloat16", "--batch", c["global_batch"],
                   "--tp", c["tp"], "--pp", c["pp"], "--dp", c["dp"], "--zero", 3, "--memory", "80GB",
                   "--micro-batch", c["global_batch"] // c["dp"], "--schedule", "gpipe",
                   "--recompute", "full" if "c" in c["flags"] else "none"]
        yield Row(("galvatron-profile",), row["id"], row["bytes"], model_of(c, family), options,
                  OfStage(c["rank"] * c["pp"] // world, figure))
