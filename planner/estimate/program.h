/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/program.h — layers of op-by-op runtimes written down as their code reads.
 *
 * A program is a torch function in a few words: which tensors it makes, what it saves, what its
 * backward pass makes. Running it allocates and frees on the tape what the function does, in its
 * order, as Python counts references and autograd holds what was saved. Internal to the room.
 *
 * Text:    statements end with ';'. Tensors are rows x columns.
 *   name, name = call(args)   binds; an old binding of the name is dropped
 *   save a b:c                keeps a for the backward pass, and b if c wants a gradient
 *   return call, name, -      what comes back; in a backward pass one a parameter
 *   repeat K { ... }          K times (at most 64); K a number or a size's letter
 *   append l call             one more item of a list; list(l) joins its rows, drop l frees it
 *   grad { ... }              what stands in it is recorded although the function is not
 *   backward y d              runs the backward passes recorded since; d may be '-' (a scalar's 1)
 * Tensors come from these; T is a type: f32 i64 bool, or the name of a tensor whose type it is:
 *   new(a,T) row(a,T) column(a,T) one(T) matrix(R,C,T)     new memory
 *   cast(a,T) half(a)         itself if of that type; half the columns
 *   product(a,w) wide(a,b) join(a,b)                       a w^T; the larger, wider; side by side
 *   view(a) part(a,K) columns(a,K) expand(d,a)             other shapes of the same memory
 *   track(a)                  the same memory as a leaf whose gradient `gradient(a)` takes
 *   sink(a)                   the same, whose gradient is added to memory that is there
 *   leaf(a)                   a weight in a graph of its own: its gradient goes where the weight's
 * does Everything else is the name of another program. One without a backward pass is only code:
 * its callees are recorded. Sources: the programs' files. Pure. */
#ifndef KP_PLANNER_ESTIMATE_PROGRAM_H
#define KP_PLANNER_ESTIMATE_PROGRAM_H

#include "planner/estimate/taping.h"

typedef struct kp_program {
    const char *name, *params, *forward;
    const char *backward; /* NULL: code; "d", "d2", ... are the gradients of what was returned */
} kp_program;

/* By name; NULL: none. */
const kp_program *kp_program_find(const char *name);

/* The tables, each sorted by name: torch's functions, compositions of libraries, fused kernels. */
extern const kp_program kp_torch_programs[], kp_model_programs[], kp_kernel_programs[],
    kp_chunked_programs[];
extern const size_t kp_torch_n_programs, kp_model_n_programs, kp_kernel_n_programs,
    kp_chunked_n_programs;

typedef struct kp_program_run kp_program_run;

/* The forward pass of an op with a program: allocates what it holds and its outputs, one holder
 * each (ret_out: a buffer an output; KP_NO: no memory of its own). training: what the backward
 * passes read stays. NULL after a failure (t->status). */
kp_program_run *kp_program_forward(kp_taping *t, uint32_t op, bool training, uint32_t *ret_out);

/* Its backward pass; grads[k]: the gradient of output k, whose holder it takes over; KP_NO: none.
 * Gradients of weights and inputs go to the tape. */
void kp_program_backward(kp_program_run *run, const uint32_t *grads);

/* Frees what the run still holds. */
void kp_program_end(kp_program_run *run);

#endif
