/* SPDX-License-Identifier: MIT
 *
 * agent/verify/move.h — carries out the moves of a flow on an executor.
 *
 * Packs and unpacks what a collective wants contiguous, and keeps all memory of one check until its
 * end. Moves that need the other members happen in one order on all of them. */
#ifndef KP_AGENT_VERIFY_MOVE_H
#define KP_AGENT_VERIFY_MOVE_H

#include "agent/verify/exec.h"
#include "agent/verify/flow.h"

/* The moves of a check, in the order in which they run. */
typedef enum kp_move_step {
    KP_MOVE_SLICE,
    KP_MOVE_FORWARD,
    KP_MOVE_ADJOINT,
    KP_MOVE_DX,
    KP_MOVE_DW,
    KP_MOVE_COUNT
} kp_move_step;

typedef struct kp_mover {
    kp_exec *exec;
    kp_group group;
    uint64_t key; /* of the check; each step has its own meetings behind it */
    kp_arena *arena;
    kp_mem owned[24];
    unsigned n_owned;
    unsigned done; /* steps before this one are over on this rank */
} kp_mover;

void kp_mover_init(kp_mover *mover, kp_exec *exec, kp_group group, uint64_t key, kp_arena *arena);
void kp_mover_release(kp_mover *mover); /* frees all memory it gave out */

/* Memory that lives as long as the mover. */
kp_status kp_mover_alloc(kp_mover *mover, uint64_t elems, kp_mem *ret, kp_err *err);

/* Runs one move. *ret may be `in` itself. */
kp_status kp_mover_run(kp_mover *mover, kp_move_step step, const kp_move *move, kp_mem in,
                       kp_mem *ret, kp_err *err);

/* After a failure of this rank alone: tells the other members at the next step that needs them, if
 * one is left, so that nobody waits. Nothing to tell after a collective that failed for all. */
void kp_mover_refuse(kp_mover *mover, const kp_flow *flow, const kp_err *why);

#endif
