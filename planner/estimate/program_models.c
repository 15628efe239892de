/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/program_models.c — compositions of torch's functions, as libraries write them.
 * Sources: transformers/models/llama/modeling_llama.py, llama4/modeling_llama4.py (rotary
 * embeddings), megatron/core/fusions/fused_bias_swiglu.py and fused_cross_entropy.py,
 * megatron/core/tensor_parallel/cross_entropy.py, deepspeed's TiledMLP, and the reference modules
 * of Liger's benchmarks (TorchJSD and the like). Sorted by name. */
#include "planner/estimate/program.h"

/* clang-format off */
const kp_program kp_model_programs[] = {
    {"chunked_swiglu", "x", "a, b = halves(x); return mul(silu(a), b)", NULL},
    {"deepspeed_tiled_mlp", "x g u w",
     "repeat k { s = part(x, k); append l llama_mlp_copied(s, g, u, w) } save x; return list(l)",
     "z = new(x); repeat k { e = part(d, k); p = part(x, k); s = sink(p); a = leaf(g); b = leaf(u); c = leaf(w);"
     " grad { o = llama_mlp(s, a, b, c) } backward o e } return z, -, -, -"},
    {"halves", "x", "return columns(x, 2), columns(x, 2)", "return join(d, d2)"},
    {"jsd", "q p", "m = lerp(exp(q), exp(p));"
     "l = add(scale(sum_columns(kl_div(log(m), p))), scale(sum_columns(kl_div(log(m), q)))); return sum_all(scale(l))", NULL},
    {"linear_copied", "x w", "c = new(x); return product(c, w)", "return -, -"},
    {"llama4_rope", "q k c", "a = float(q); b = float(k); e = scale(a); f = scale(b); return to(e, q), to(f, k)", NULL},
    {"llama_add_rms_norm", "x r w", "s = add(x, r); v = mean_columns(pow(s)); h = mul(s, rsqrt(v)); return mul(w, h), s", NULL},
    {"llama_mlp", "x g u w", "return linear(mul(silu(linear(x, g)), linear(x, u)), w)", NULL},
    {"llama_mlp_copied", "x g u w", "return linear(mul(silu(linear_copied(x, g)), linear_copied(x, u)), w)", NULL},
    {"llama_rms_norm", "x w", "h = float(x); v = mean_columns(pow(h)); h = mul(h, rsqrt(v)); return mul(w, to(h, x))", NULL},
    {"llama_rope", "q k c s",
     "a = add(mul(q, c), mul(rotate_half(q), s)); b = add(mul(k, c), mul(rotate_half(k), s)); return a, b", NULL},
    {"lm_head_ce", "x t w", "z = linear(x, w); return cross_entropy(z, t)", NULL},
    {"lm_head_jsd", "x y w z",
     "s = linear(x, w); t = linear(y, z); p = log_softmax(scale(s)); q = log_softmax(scale(t)); return torch_jsd(p, q)", NULL},
    {"megatron_cross_entropy", "x t", "f = new(x, f32); save f; return row(x, f32)", "return f, -"},
    {"megatron_cross_entropy_fused", "x t", "f = new(x, f32); e = new(x, f32); save f e; return row(x, f32)", "return e, -"},
    {"megatron_swiglu", "x", "save x; return half(x)", "return new(x)"},
    {"rotate_half", "x", "a = slice_columns(x); b = slice_columns(x); return cat_columns(neg(b), a)", NULL},
    {"torch_jsd", "q p", "b = float(p); a = float(q); return jsd(a, b)", NULL},
    {"torch_tvd", "p q", "v = scale(abs(sub(p, q))); return scale(sum_all(v))", NULL},
};
/* clang-format on */
const size_t kp_model_n_programs = KP_LEN(kp_model_programs);
