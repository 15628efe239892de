/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/program_kernels.c — Liger's fused kernels: what their autograd functions
 * allocate. Weight gradients of norms are summed from one row a multiprocessor (s) in float32.
 * Sources: liger_kernel/ops (cross_entropy, swiglu, geglu, rms_norm, layer_norm, group_norm,
 * fused_add_rms_norm, jsd, kl_div, tvd, rope, llama4_rope, tiled_mlp), liger_kernel/megatron.
 * Sorted by name. */
#include "planner/estimate/program.h"

/* clang-format off */
const kp_program kp_kernel_programs[] = {
    {"add_liger_rms_norm", "x r w v", "s = add(x, r); return mul(w, liger_rms_norm_apart(s, v)), s", NULL},
    {"liger_cross_entropy", "x t", "l = row(x, f32); save x; return one(f32)", "return x, -"},
    {"liger_fused_add_rms_norm", "x r w", "y = new(x); s = new(x); t = row(x, f32); save s t; return y, s",
     "e = new(d); p = matrix(s, h, f32); return e, e, new(w)"},
    {"liger_glu", "a b", "save a b; return new(a)", "return view(a), view(b)"},
    {"liger_group_norm", "x w b", "y = new(x); m = row(x); r = row(x); save x m r; return y", "return new(d), new(w), new(b)"},
    {"liger_jsd", "q p", "l = new(q, f32); g = new(q); save g; return one(f32)", "return g, -"},
    {"liger_jsd_copied", "q p", "c = new(q); l = new(q, f32); g = new(q); save g; return one(f32)", "return g, -"},
    {"liger_kl_div", "q p", "l = row(q, f32); save p; return one(f32)", "g = new(p); return new(g), -"},
    {"liger_layer_norm", "x w b", "y = new(x); m = row(x); r = row(x); save x m r; return y", "return new(d), new(w), new(b)"},
    {"liger_layer_norm_rows", "x w b", "y = new(x); m = row(x); r = row(x); save x m r; return y",
     "e = new(d); p = matrix(s, h, w); q = matrix(s, h, w); return e, new(w), new(b)"},
    {"liger_llama4_rope", "q k c", "a = matrix(n, e, q); b = matrix(n, e, q); c = matrix(n, e, q); return view(q), view(k)",
     "a = matrix(n, e, q); b = matrix(n, e, q); c = matrix(n, e, q); return d, d2, -"},
    {"liger_megatron_cross_entropy", "x t", "f = new(x, f32); save f; return row(x, f32)", "return f, -"},
    {"liger_megatron_rms_norm", "x w", "y = new(x); r = row(x, f32); save x r; return y",
     "c = new(d); e = new(x); p = matrix(s, h, f32); return e, new(w)"},
    {"liger_megatron_swiglu", "x", "save x; return half(x)", "c = new(d); return new(x)"},
    {"liger_megatron_swiglu_in_place", "x", "save x; return half(x)", "c = new(d); return view(x)"},
    {"liger_mlp", "x g u w", "return linear(liger_glu(linear(x, g), linear(x, u)), w)", NULL},
    {"liger_mlp_copied", "x g u w", "a = linear_copied(x, g); b = linear_copied(x, u); return linear(liger_glu(a, b), w)", NULL},
    {"liger_mlp_local", "x g u w", "a = linear(x, g); b = linear(x, u); return linear(liger_glu(a, b), w)", NULL},
    {"liger_rms_norm", "x w", "y = new(x); r = row(x, f32); save x r; return y", "p = matrix(s, h, f32); return d, new(w)"},
    {"liger_rms_norm_apart", "x w", "y = new(x); r = row(x, f32); save x r; return y",
     "e = new(d); p = matrix(s, h, f32); return e, new(w)"},
    {"liger_rms_norm_rows", "x w", "y = new(x); r = row(x, f32); save x r; return y", "return d, new(x)"},
    {"liger_rope", "q k c s", "return view(q), view(k)", "return d, d2, -, -"},
    {"liger_tiled_mlp", "x g u w",
     "repeat k { s = part(x, k); append l liger_mlp_copied(s, g, u, w) } save x; return list(l)",
     "z = new(x); repeat k { e = part(d, k); p = part(x, k); s = sink(p); a = leaf(g); b = leaf(u); c = leaf(w);"
     " grad { o = liger_mlp_local(s, a, b, c) } backward o e } return z, -, -, -"},
    {"liger_tvd", "p q", "l = row(p, f32); g = new(p); e = new(p); save e; return one(f32)", "return e, -"},
};
/* clang-format on */
const size_t kp_kernel_n_programs = KP_LEN(kp_kernel_programs);
