/* SPDX-License-Identifier: MIT
 *
 * Layers of torch's libraries that stand in a Keras-shaped file with their package (module or
 * registered_name): torch's own, transformers', Liger's fused kernels, Megatron's, DeepSpeed's.
 * Sorted by class. What they do in memory is a program (planner/estimate/program.h).
 * Rotary embeddings take tables that a product has made: it has left its workspace behind.
 * Sources: torch/nn/modules; transformers/models/llama/modeling_llama.py; liger_kernel/transformers
 * and liger_kernel/chunked_loss; megatron/core/fusions; deepspeed/runtime/sequence_parallel. */
#include "planner/model/rows.h"
#include "planner/model/schema.h"
#include "planner/model/torch.h"

/* clang-format off */
SCHEMA(cfg_torch, MAY(INT, units, "intermediate_size", 0), MAY(INT, rows, "vocab_size", 0),
       MAY(INT, count, "num_shards", 1), MAY(INT, groups, "num_groups", 1),
       MAY(INT, heads, "num_chunks", 1), MAY(INT, width, "teacher_hidden_size", 0),
       MAY(INT, key_dim, "head_dim", 1), MAY(BOOL, use_bias, "bias", 0),
       MAY(TEXT, text, "package_version", 0));

#define SINCE(name, package, weights, outs, keeps, program, until, before)                         \
    {{name, 0, 0, 1, ANY, &cfg_torch, kp_shape_torch, kp_weights_torch, kp_lower_torch},           \
     package, weights, outs, keeps, program, until, before}
#define ROW(name, package, weights, outs, keeps, program)                                          \
    SINCE(name, package, weights, outs, keeps, program, 0, NULL)
#define MLP "gate_proj.weight:fh up_proj.weight:fh down_proj.weight:hf"

const kp_torch_row kp_torch_rows[] = {
    ROW("ApplyRotaryEmb",       "transformers", "", "xy*", 0, "llama4_rope"),
    ROW("ApplyRotaryPosEmb",    "transformers", "", "xy*", 0, "llama_rope"),
    ROW("BiasSwiGLU",           "megatron",     "", "g", 1, "megatron_swiglu"),
    ROW("CrossEntropyLoss",     "torch",        "", "s", 2, "cross_entropy"),
    ROW("FusedVocabParallelCrossEntropy", "megatron", "", "r", 0, "megatron_cross_entropy_fused"),
    ROW("GroupNorm",            "torch",        "weight:c bias:c", "x", 1, "group_norm"),
    ROW("KLDivLoss",            "torch",        "", "s", 3, "kl_div_loss"),
    ROW("LayerNorm",            "torch",        "weight:h bias:h", "x", 1, "layer_norm"),
    ROW("LigerAddRMSNorm",      "liger_kernel", "weight:h rms_norm.weight:h", "xx", 0, "add_liger_rms_norm"),
    ROW("LigerCrossEntropyLoss", "liger_kernel", "", "s=", 1, "liger_cross_entropy"),
    ROW("LigerFusedAddRMSNorm", "liger_kernel", "weight:h", "xx", 0, "liger_fused_add_rms_norm"),
    ROW("LigerFusedLinearCrossEntropyLoss", "liger_kernel", "lin.weight:vh", "s*", 0, "liger_fused_linear_cross_entropy"),
    ROW("LigerFusedLinearJSD",  "liger_kernel", "student_lin.weight:vh teacher_lin.weight!:vh", "s*", 0, "liger_fused_linear_jsd"),
    ROW("LigerGEGLUMLP",        "liger_kernel", MLP, "x**", 1, "liger_mlp"),
    ROW("LigerGroupNorm",       "liger_kernel", "weight:c bias:c", "x", 1, "liger_group_norm"),
    SINCE("LigerJSD",           "liger_kernel", "", "s", 0, "liger_jsd_copied", 8, "liger_jsd"),
    ROW("LigerKLDIVLoss",       "liger_kernel", "", "s", 2, "liger_kl_div"),
    SINCE("LigerLayerNorm",     "liger_kernel", "weight:h bias:h", "x", 1, "liger_layer_norm", 6, "liger_layer_norm_rows"),
    ROW("LigerLlama4Rope",      "liger_kernel", "", "xy*", 0, "liger_llama4_rope"),
    ROW("LigerMegatronCrossEntropy", "liger_kernel", "", "r", 0, "liger_megatron_cross_entropy"),
    ROW("LigerMegatronRMSNorm", "liger_kernel", "weight:h", "x", 1, "liger_megatron_rms_norm"),
    ROW("LigerMegatronSwiGLU",  "liger_kernel", "", "g", 1, "liger_megatron_swiglu"),
    ROW("LigerMegatronSwiGLUInPlace", "liger_kernel", "", "g=", 1, "liger_megatron_swiglu_in_place"),
    SINCE("LigerRMSNorm",       "liger_kernel", "weight:h", "x", 1, "liger_rms_norm", 3, "liger_rms_norm_rows"),
    ROW("LigerRope",            "liger_kernel", "", "xy*", 0, "liger_rope"),
    ROW("LigerSwiGLUMLP",       "liger_kernel", MLP, "x**", 1, "liger_mlp"),
    ROW("LigerTVDLoss",         "liger_kernel", "", "s", 0, "liger_tvd"),
    ROW("LigerTiledGEGLUMLP",   "liger_kernel", MLP, "x**", 1, "liger_tiled_mlp"),
    ROW("LigerTiledSwiGLUMLP",  "liger_kernel", MLP, "x**", 1, "liger_tiled_mlp"),
    ROW("LlamaMLP",             "transformers", MLP, "x**", 1, "llama_mlp"),
    ROW("LlamaRMSNorm",         "transformers", "weight:h", "p", 0, "llama_rms_norm"),
    ROW("LogSoftmax",           "torch",        "", "x", 0, "log_softmax"),
    ROW("NaiveAddRMSNorm",      "transformers", "weight:h", "xx", 0, "llama_add_rms_norm"),
    ROW("RMSNorm",              "torch",        "weight:h", "x", 1, "rms_norm"),
    ROW("Softmax",              "torch",        "", "x", 0, "softmax"),
    ROW("SwiGLU",               "torch",        "", "g", 1, "chunked_swiglu"),
    ROW("TiledMLP",             "deepspeed",    MLP, "x**", 1, "deepspeed_tiled_mlp"),
    ROW("TorchJSD",             "torch",        "", "s", 3, "torch_jsd"),
    ROW("TorchLMHeadCE",        "torch",        "lin.weight:vh", "s**", 3, "lm_head_ce"),
    ROW("TorchLMHeadJSD",       "torch",        "student_lin.weight:vh teacher_lin.weight!:vh", "s**", 3, "lm_head_jsd"),
    ROW("TorchTVDLoss",         "torch",        "", "s", 0, "torch_tvd"),
    ROW("VocabParallelCrossEntropy", "megatron", "", "r", 0, "megatron_cross_entropy"),
};
/* clang-format on */
const size_t kp_torch_n_rows = KP_LEN(kp_torch_rows);
