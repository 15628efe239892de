/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/program_torch.c — torch's functions: what each makes and saves, and what its
 * backward pass makes. Sources: tools/autograd/derivatives.yaml; FunctionsManual.cpp (pow_backward,
 * slice_backward, gather's scatter); ATen/native/cuda/SoftMax.cu (a product in front of the
 * backward pass of softmax); ATen/native/Loss.cpp (kl_div). Sorted by name. */
#include "planner/estimate/program.h"

/* clang-format off */
const kp_program kp_torch_programs[] = {
    {"abs", "a", "save a; return new(a)", "s = new(d); return new(d)"},
    {"add", "a b", "return wide(a, b)", "return d, d"},
    {"cat_columns", "a b", "return join(a, b)", "return columns(d, 2), columns(d, 2)"},
    {"contiguous", "a", "return new(a)", "return d"},
    {"cross_entropy", "x t", "return nll(log_softmax(x), t)", NULL},
    {"div", "a", "return new(a)", "return new(d)"},
    {"exp", "a", "y = new(a); save y; return y", "return new(d)"},
    {"float", "a", "return cast(a, f32)", "return cast(d, a)"},
    {"gather_rows", "a t", "save t; return row(a)", "return new(a), -"},
    {"gelu", "a", "save a; return new(a)", "return new(d)"},
    {"group_norm", "x w b", "y = new(x); m = row(x, f32); save x m; return y", "return new(d), new(w), new(b)"},
    {"kl_div", "x t", "return mul(exp(t), sub(t, x))", NULL},
    {"kl_div_loss", "x t", "l = sub(xlogy(t), mul(t, x)); return div(sum_all(l))", NULL},
    {"layer_norm", "x w b", "y = new(x); m = row(x, f32); r = row(x, f32); save x m r; return y", "return new(d), new(w), new(b)"},
    {"lerp", "a b", "return new(a)", "return new(d), new(d)"},
    {"linear", "x w", "save x:w; return product(x, w)", "g = new(x); w2 = new(w); return view(g), w2"},
    {"log", "a", "save a; return new(a)", "return new(d)"},
    {"log_softmax", "x", "y = new(x); save y; return y", "return new(d)"},
    {"mean_all", "a", "return one(a)", "e = expand(d, a); return new(a)"},
    {"mean_columns", "a", "return row(a)", "e = expand(d, a); return new(a)"},
    {"mul", "a b", "save a:b b:a; return wide(a, b)", "return new(d), new(d)"},
    {"neg", "a", "return new(a)", "return new(d)"},
    {"nll", "x t", "save x t; return one(x)", "return new(x), -"},
    {"pow", "a", "save a; return new(a)", "p = new(a); q = new(a); return new(d)"},
    {"rms_norm", "x w", "y = new(x); r = row(x, f32); save x r; return y", "c = new(d); return new(d), new(w)"},
    {"rsqrt", "a", "y = new(a); save y; return y", "p = new(a); return new(d)"},
    {"scale", "a", "return new(a)", "return new(d)"},
    {"silu", "a", "save a; return new(a)", "return new(d)"},
    {"slice_columns", "a", "return columns(a, 2)", "return new(a)"},
    {"softmax", "x", "y = new(x); save y; return y", "p = new(d); return new(d)"},
    {"sub", "a b", "return wide(a, b)", "return d, new(d)"},
    {"sum_all", "a", "return one(a)", "return expand(d, a)"},
    {"sum_columns", "a", "return row(a)", "return expand(d, a)"},
    {"to", "a b", "return cast(a, b)", "return cast(d, a), -"},
    {"xlogy", "t", "save t; return new(t)", "return new(d)"},
};
/* clang-format on */
const size_t kp_torch_n_programs = KP_LEN(kp_torch_programs);
