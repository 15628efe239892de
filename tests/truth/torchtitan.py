"""Rows of torchtitan and torchtune: Llama models whose sizes the record has. torchtitan's settings go into
the model file under its own names. torchtune's batches are sentences of a data set, whose length the record
does not have."""
from rows import Left, Row, option, records

MEMORY = {"H100 96GB HBM2e": "96G"}  # the table has the card's rates, not its memory
GPUS = {"H100 96GB HBM2e": "H100-SXM5-96GB-HBM2e-500W", "H200": "H200-SXM5-141GB", "A100": "A100-80G", "A6000": "RTXA6000"}
KEYS = {"layers": "num_hidden_layers", "hidden": "hidden_size", "heads": "num_attention_heads",
        "kv_heads": "num_key_value_heads", "ffn": "intermediate_size", "vocab": "vocab_size"}
# Before 2025 train.py left the loss uncompiled ("compiling loss function causes CUDA errors").
LOSS_UNCOMPILED = "h100_202412"
# benchmarks/llama3-8b_h200_202506_trainy-whitefiber.md: torchrun without run_train.sh, which sets the
# allocator, and --training.compile beside the float8 converter.
BY_TORCHRUN = "Trainy"
# train_configs/llama3_*.toml: what runs without the option have.
SEQUENCE, RECOMPUTE = 8192, "selective (every other op)"
FULL_ABOVE = 8192  # hidden sizes of the 405B configuration: [activation_checkpoint] mode = 'full'


def llama(c):
    model = {"model_type": "llama", **{name: c[key] for key, name in KEYS.items()}}
    return {**model, "tie_word_embeddings": c["hidden"] < 4096}  # those of Llama 3.2 are tied


def checkpointing(c):
    how = c.get("recompute") or ("full" if c["hidden"] > FULL_ABOVE else RECOMPUTE)
    if how.startswith("selective"):
        number = "".join(x for x in how if x.isdigit())
        return {"mode": "selective", "selective_ac_option": number or "op"}
    return {"mode": how} if how in ("none", "full") else None


def settings(row):
    """The job as torchtitan's TOML files say it."""
    c, source = row["config"], row["source"]
    variant = (c.get("variant") or "").lower()
    float8 = "float8" in variant
    torchrun = BY_TORCHRUN in source
    titan = {"activation_checkpoint": checkpointing(c),
             "parallelism": {"tensor_parallel_degree": int(c.get("tp", 1)), "pipeline_parallel_degree": int(c.get("pp", 1)),
                             "context_parallel_degree": int(c.get("cp", 1))}}
    schedule = (c.get("schedule") or c.get("variant") or "").lower()
    if "interleaved" in schedule:
        titan["parallelism"]["pipeline_parallel_schedule"] = "Interleaved1F1B"
    # Float8 is run with the options that docs/float8.md starts it with.
    if float8:
        titan["model"], titan["float8"] = {"converters": ["float8"]}, {"enable_fsdp_float8_all_gather": True}
    if "compile" in variant or "async" in variant or (float8 and torchrun):
        components = ["model"] if LOSS_UNCOMPILED in source else ["model", "loss"]
        titan["compile"] = {"enable": True, "components": components}
    if torchrun:
        titan["PYTORCH_CUDA_ALLOC_CONF"] = ""
    return titan


def reason(row):
    """Why a record cannot be asked; None: it can."""
    c, device = row["config"], row["device"]
    if any(key not in c for key in KEYS):
        return "sizes of the model are not said"
    if device not in GPUS:
        return "another card"
    if row["group"] == "torchtune":
        return "the length of the sentences is not said"
    if "local_batch" not in c:
        return "the batch is not said"
    return None if checkpointing(c) else f"recomputation of {c['recompute']}"


def rows(data):
    for row in records(data, "memory", "measured.jsonl"):
        if row["group"] not in ("torchtitan", "torchtune"):
            continue
        c, sets, label = row["config"], (row["group"],), f"{row['id']} {row['model']}"
        why = reason(row)
        if why:
            yield Left(sets, label, why)
            continue
        pp, tp, dp = int(c.get("pp", 1)), int(c.get("tp", 1)), int(c.get("fsdp", 1))
        batch, device = int(c["local_batch"]), row["device"]
        titan = settings(row)
        stages = pp * (2 if "pipeline_parallel_schedule" in titan["parallelism"] else 1)
        # config_manager.py, pipeline_parallel_microbatches: as many micro-batches as stages
        micro = batch // stages if pp > 1 and batch % stages == 0 else max(1, batch // pp)
        options = ["--framework", "torch", "--gpu", GPUS[device], *option("memory", MEMORY.get(device)),
                   "--dp", dp, "--tp", tp, "--pp", pp, "--zero", 3, "--batch", batch * dp, "--micro-batch", micro,
                   "--seq", c.get("seq", SEQUENCE), "--optimizer", c["optimizer"].lower(), "--dtype-policy", "mixed_bfloat16"]
        model = {**llama(c), "torchtitan": titan}
        yield Row(sets, label, row["bytes"], model, options, "reserved" if "reserved" in row["kind"] else "allocated")
