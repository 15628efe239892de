/* SPDX-License-Identifier: MIT */
#include "agent/verify/move.h"
#include <assert.h>

void kp_mover_init(kp_mover *mover, kp_exec *exec, kp_group group, uint64_t key, kp_arena *arena)
{
    *mover = (kp_mover){.exec = exec, .group = group, .key = key, .arena = arena};
}

void kp_mover_release(kp_mover *mover)
{
    for (unsigned i = 0; i < mover->n_owned; i++)
        mover->exec->ops->free(mover->exec, mover->owned[i]);
    mover->n_owned = 0;
}

kp_status kp_mover_alloc(kp_mover *mover, uint64_t elems, kp_mem *ret, kp_err *err)
{
    assert(mover->n_owned < KP_LEN(mover->owned));
    KP_TRY(mover->exec->ops->alloc(mover->exec, elems, ret, err));
    mover->owned[mover->n_owned++] = *ret;
    return KP_OK;
}

/* The own part of a whole tensor. */
static kp_status slice(kp_mover *m, const kp_move *move, kp_mem in, kp_mem *ret, kp_err *err)
{
    const kp_runs_of runs = kp_block_runs(move->to);
    KP_TRY(kp_mover_alloc(m, kp_block_elems(move->to), ret, err));
    kp_exec_copy copy = {.to = *ret,
                         .from = in,
                         .to_pitch = runs.width,
                         .from_offset = runs.offset,
                         .from_pitch = runs.pitch,
                         .width = runs.width,
                         .rows = runs.rows};
    return m->exec->ops->copy(m->exec, &copy, err);
}

/* Between a whole tensor and its blocks one behind the other, the form that collectives have. */
static kp_status restack(kp_mover *m, kp_block any, kp_mem whole, kp_mem blocks, bool to_whole,
                         kp_err *err)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < m->group.n; i++) {
        kp_block block = kp_block_make(any.full, any.axis, i, m->group.n);
        const kp_runs_of runs = kp_block_runs(block);
        kp_exec_copy copy = {.width = runs.width, .rows = runs.rows};
        if (to_whole) {
            copy.to = whole, copy.to_offset = runs.offset, copy.to_pitch = runs.pitch;
            copy.from = blocks, copy.from_offset = at, copy.from_pitch = runs.width;
        } else {
            copy.to = blocks, copy.to_offset = at, copy.to_pitch = runs.width;
            copy.from = whole, copy.from_offset = runs.offset, copy.from_pitch = runs.pitch;
        }
        if (runs.width > 0) KP_TRY(m->exec->ops->copy(m->exec, &copy, err));
        at += kp_block_elems(block);
    }
    return KP_OK;
}

/* Elements of every member's block. */
static const uint64_t *counts_of(kp_mover *m, kp_block any)
{
    uint64_t *counts = KP_NEW(m->arena, uint64_t, m->group.n);
    for (uint32_t i = 0; counts && i < m->group.n; i++)
        counts[i] = kp_block_elems(kp_block_make(any.full, any.axis, i, m->group.n));
    return counts;
}

/* The collective itself. From here on the members fail together. */
static kp_status talk(kp_mover *m, kp_move_step step, kp_exec_coll *coll, kp_err *err)
{
    coll->group = m->group;
    coll->key = m->key + 2u * (unsigned)step;
    kp_status status = m->exec->ops->collective(m->exec, coll, err);
    m->done = status == KP_OK ? (unsigned)step + 1 : KP_MOVE_COUNT;
    return status;
}

static kp_status gather(kp_mover *m, kp_move_step step, const kp_move *move, kp_mem in, kp_mem *ret,
                        kp_err *err)
{
    uint64_t elems = kp_block_elems(move->to);
    bool dense = kp_block_runs(move->from).rows == 1;
    kp_exec_coll coll = {.coll = KP_COLL_ALL_GATHER, .in = in};
    if (!(coll.counts = counts_of(m, move->from))) return kp_nomem(err);
    KP_TRY(kp_mover_alloc(m, elems, ret, err));
    coll.out = *ret;
    if (!dense) KP_TRY(kp_mover_alloc(m, elems, &coll.out, err));
    KP_TRY(talk(m, step, &coll, err));
    return dense ? KP_OK : restack(m, move->from, *ret, coll.out, true, err);
}

static kp_status scatter(kp_mover *m, kp_move_step step, const kp_move *move, kp_mem in,
                         kp_mem *ret, kp_err *err)
{
    bool dense = kp_block_runs(move->to).rows == 1;
    kp_exec_coll coll = {.coll = KP_COLL_REDUCE_SCATTER, .in = in};
    if (!(coll.counts = counts_of(m, move->to))) return kp_nomem(err);
    KP_TRY(kp_mover_alloc(m, kp_block_elems(move->to), ret, err));
    coll.out = *ret;
    if (!dense) {
        KP_TRY(kp_mover_alloc(m, in.elems, &coll.in, err));
        KP_TRY(restack(m, move->to, in, coll.in, false, err));
    }
    return talk(m, step, &coll, err);
}

kp_status kp_mover_run(kp_mover *m, kp_move_step step, const kp_move *move, kp_mem in, kp_mem *ret,
                       kp_err *err)
{
    *ret = in;
    if (move->coll == KP_COLL_SLICE) return slice(m, move, in, ret, err);
    if (!kp_move_talks(move, m->group.n)) return KP_OK;
    if (move->coll == KP_COLL_ALL_GATHER) return gather(m, step, move, in, ret, err);
    if (move->coll == KP_COLL_REDUCE_SCATTER) return scatter(m, step, move, in, ret, err);
    kp_exec_coll coll = {.coll = KP_COLL_ALL_REDUCE, .in = in, .out = in};
    return talk(m, step, &coll, err);
}

void kp_mover_refuse(kp_mover *m, const kp_flow *flow, const kp_err *why)
{
    const kp_move *const moves[KP_MOVE_COUNT] = {
        [KP_MOVE_SLICE] = &flow->slice_x,   [KP_MOVE_FORWARD] = &flow->forward,
        [KP_MOVE_ADJOINT] = &flow->adjoint, [KP_MOVE_DX] = &flow->dx,
        [KP_MOVE_DW] = &flow->dw,
    };
    for (unsigned step = m->done; step < KP_MOVE_COUNT; step++) {
        if (!kp_move_talks(moves[step], m->group.n)) continue;
        kp_exec_coll coll = {.coll = moves[step]->coll, .failed = why};
        talk(m, (kp_move_step)step, &coll, NULL);
        return;
    }
}
