"""Rows of SimuMax's runs on B200: Megatron-LM 0.14 with Transformer Engine, one rank a row.

The model file is Megatron's arguments. `parallel` names degrees ("tp1ep8pp1"), the rest of the GPUs
is data parallel; ranks of a stage stand together."""
import re

from rows import Left, OfStage, Row, records

# What a configuration's latent attention and shared experts are, where a row names only the model.
LATENT = {
    "deepseekv2": {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_head_dim": 128, "qk_pos_emb_head_dim": 64,
                   "v_head_dim": 128, "shared": 2, "dense": 1, "score": "softmax"},
    "deepseekv3": {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_head_dim": 128, "qk_pos_emb_head_dim": 64,
                   "v_head_dim": 128, "shared": 1, "dense": 3, "score": "sigmoid"},
}


def degrees(parallel):
    return {name: int(n) for name, n in re.findall(r"([a-z]+)(\d+)", parallel)}


def latent(model, c):
    known = LATENT.get(model.lower().replace("-", "").replace("_", ""))
    if not known:
        return None
    sizes = {k: v for k, v in known.items() if k.endswith(("rank", "dim"))}
    dense = min(known["dense"], c["layers"])
    return {"multi_latent_attention": True, "qk_layernorm": True, **sizes,
            "moe_shared_expert_intermediate_size": known["shared"] * c["moe_ffn"],
            "moe_layer_freq": [0] * dense + [1] * (c["layers"] - dense),
            "moe_router_score_function": known["score"]}


def model_of(row, d):
    c = row["config"]
    model = {"num_layers": c["layers"], "hidden_size": c["hidden"], "num_attention_heads": c["heads"],
             "ffn_hidden_size": c["ffn"], "seq_length": c["seq"], "padded_vocab_size": c["vocab"],
             "max_position_embeddings": c["seq"], "bf16": c["dtype"] == "bf16", "swiglu": True,
             "normalization": "RMSNorm", "position_embedding_type": "rope", "disable_bias_linear": True,
             "untie_embeddings_and_output_weights": True, "attention_dropout": 0, "hidden_dropout": 0,
             "use_distributed_optimizer": True, "sequence_parallel": bool(c.get("sequence_parallel")) and d["tp"] > 1,
             "cross_entropy_loss_fusion": bool(c.get("ce_fusion")), "no_create_attention_mask_in_dataloader": True,
             "tensor_model_parallel_size": d["tp"], "pipeline_model_parallel_size": d["pp"],
             "context_parallel_size": d["cp"], "expert_model_parallel_size": d["ep"],
             "expert_tensor_parallel_size": d["etp"], "micro_batch_size": c["micro_batch"]}
    if c.get("kv_heads"):
        model.update(group_query_attention=True, num_query_groups=c["kv_heads"])
    if c.get("experts"):
        model.update(num_experts=c["experts"], moe_router_topk=c["topk"], moe_ffn_hidden_size=c["moe_ffn"],
                     moe_grouped_gemm=True, moe_token_dispatcher_type="alltoall")
    if str(c.get("recompute", "none")).startswith("full"):
        model.update(recompute_granularity="full", recompute_method="uniform", recompute_num_layers=1)
    elif str(c.get("recompute", "none")).startswith("selective"):
        model["recompute_granularity"] = "selective"
    return model


def rows(data):
    for row in records(data, "memory", "measured.jsonl"):
        if row.get("group") != "simumax-b200":
            continue
        c = row["config"]
        d = {"tp": 1, "pp": 1, "ep": 1, "etp": 1, "cp": c.get("cp", 1), **degrees(c["parallel"])}
        gpus = row.get("gpus") or 8
        more = latent(row["model"], c) if c.get("mla") else {}
        stage_ranks = gpus // d["pp"]
        dp = stage_ranks // (d["tp"] * d["cp"])
        if more is None or not dp or not c.get("vocab"):
            for name in ("", "-reserved"):
                yield Left(("simumax-b200" + name,), row["id"], "sizes of the model are not known")
            continue
        options = ["--batch", c["micro_batch"] * c["num_microbatches"] * dp, "--dp", dp, "--gpu", "B200"]
        for name, measured, figure in (("", row["bytes"], "allocated"),
                                       ("-reserved", row.get("max_reserved_bytes"), "reserved")):
            if measured:
                yield Row(("simumax-b200" + name,), row["id"], measured, {**model_of(row, d), **more}, options,
                          OfStage(c.get("rank", 0) // stage_ranks, figure))
