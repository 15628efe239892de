"""Rows of Aceso's runtime (SuperScaler), as published with Mist: one rank of one pipeline stage.

The model file is the one that the runtime reads: sizes of a GPT and a plan. A row knows its own
stage only; the others get what operations are left, which changes nothing on this one's ranks."""
import re

from rows import Left, OfStage, Row, option, records

OPERATIONS_A_LAYER = 13  # an embedding before, a norm and the loss behind


def listed(runs):
    return [value for value, times in runs for _ in range(times)]


def shares(total, parts):
    """`total` operations over `parts` stages, as evenly as they go."""
    return [(i + 1) * total // parts - i * total // parts for i in range(parts)]


def plan_of(c):
    whole = OPERATIONS_A_LAYER * c["layers"] + 3
    before, own = c["ops_before_stage"], c["ops_in_stage"]
    after = c["stages"] - c["stage"] - 1
    counts = shares(before, c["stage"]) + [own] + shares(whole - before - own, after)

    def an_op(mine, rest):
        return [mine if i == c["stage"] else [rest] * n for i, n in enumerate(counts)]
    return {"num_ops_in_each_stage": counts,
            "model_parallel_size_of_each_op": an_op(listed(c["tp_runs"]), 1),
            "data_parallel_size_of_each_op": an_op(listed(c["dp_runs"]), 1),
            "recompute_ops": an_op(listed(c["recompute_runs"]), 0)}


def model_of(c):
    return {"model_name": "gpt", "num_layers": c["layers"], "hidden_size": c["hidden"],
            "num_attention_heads": c["heads"], "seq_length": c["seq"], "max_position_embeddings": c["seq"],
            "tokenizer_type": "GPT2BPETokenizer", "fp16": True, "transformer_impl": "local",
            "micro_batch_size": c["micro_batch"], "global_batch_size": c["global_batch"], **plan_of(c)}


def card(device):
    """The memory of a card called so ("A10G 24GB"): all that the allocator's figures need of it."""
    size = re.search(r"(\d+)GB", device or "")
    return ["--gpu", "A100-40G"] if "A100" in device else option("memory", f"{size[1]}GB" if size else "80GB")


def rows(data):
    for row in records(data, "memory", "measured.jsonl"):
        if row.get("group") != "mist-aceso-runtime":
            continue
        c = row["config"]
        if "tp_runs" not in c or "stage" not in c:
            yield Left(("mist-aceso-runtime",), row["id"], "the stage's plan is not known")
            continue
        options = [*option("batch", c["global_batch"]), *card(row.get("device"))]
        for name, measured, figure in (("", row["bytes"], "allocated"),
                                       ("-reserved", row.get("max_reserved_bytes"), "reserved")):
            if measured:
                yield Row(("mist-aceso-runtime" + name,), row["id"], measured, model_of(c), options,
                          OfStage(c["stage"], figure))
