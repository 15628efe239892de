/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/program_chunked.c — Liger's losses fused with the product in front of them: the
 * forward pass computes the gradients chunk by chunk (p chunks of q rows) and keeps them. Names of
 * one chunk live until the next chunk binds them again. Sources: liger_kernel/ops
 * (fused_linear_cross_entropy, fused_linear_jsd). Sorted by name. */
#include "planner/estimate/program.h"

/* clang-format off */
const kp_program kp_chunked_programs[] = {
    {"liger_fused_linear_cross_entropy", "x t w",
     "g = new(x); a = new(w); l = row(x, f32);"
     "repeat p { z = matrix(q, v, x); z = cast(z, f32); z = cast(z, x); y = new(z) } save g a; return one(f32)",
     "return g, -, a"},
    {"liger_fused_linear_jsd", "x y w z",
     "a = new(w); g = new(x); l = matrix(n, v, f32);"
     "repeat p { s = float(matrix(q, v, x)); t = float(matrix(q, v, x)); s = scale(s); t = scale(t);"
     " e = log_softmax(s); f = log_softmax(t); s = scale(sub(e, mul(softmax(s), e))); s = cast(s, x) }"
     " save g a; return one(f32)",
     "return g, -, a, -"},
};
/* clang-format on */
const size_t kp_chunked_n_programs = KP_LEN(kp_chunked_programs);
