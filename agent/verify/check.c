/* SPDX-License-Identifier: MIT */
#include "agent/verify/check.h"
#include "agent/verify/compare.h"
#include "agent/verify/flow.h"
#include "agent/verify/move.h"
#include "proto/clock.h"

/* One check while it runs. */
typedef struct run {
    const kp_checker *checker;
    const kp_check_job *job;
    kp_exec *exec;
    const kp_problem *p;
    kp_flow flow;
    kp_data data;
    kp_mover mover;
    kp_truth truth;
    kp_mem x, w, y_local, y, dy, dx, dw; /* owned by the mover */
} run;

/* ---- steps; each returns a failure of this rank, or of all ---- */

/* Memory with this rank's part of a tensor of the data. */
static kp_status load(run *r, kp_data_tensor tensor, kp_block block, kp_mem *ret, kp_err *err)
{
    uint64_t elems = kp_block_elems(block);
    void *host = malloc(elems ? (size_t)elems * sizeof(float) : 1);
    if (!host) return kp_nomem(err);
    kp_data_fill(&r->data, tensor, block, host);
    kp_status status = kp_mover_alloc(&r->mover, elems, ret, err);
    if (status == KP_OK) status = r->exec->ops->put(r->exec, *ret, host, err);
    free(host);
    return status;
}

/* Compares what this rank has with the uncut layer. */
static kp_status compare(run *r, const char *name, kp_mem mem, kp_block block, const float *whole,
                         kp_difference *diff, kp_err *err)
{
    float *host = malloc(mem.elems ? (size_t)mem.elems * sizeof(float) : 1);
    if (!host) return kp_nomem(err);
    kp_status status = r->exec->ops->get(r->exec, host, mem, err);
    if (status == KP_OK) kp_difference_add(diff, name, host, block, whole);
    free(host);
    return status;
}

static kp_op_call call_of(const run *r, kp_direction direction)
{
    return (kp_op_call){.problem = r->p,
                        .direction = direction,
                        .x = kp_block_shape(r->flow.x_used),
                        .w = kp_block_shape(r->flow.w),
                        .y = kp_block_shape(r->flow.y_local),
                        .filter_from = r->flow.w.axis == r->p->w_out ? r->flow.w.from : 0,
                        .row_from = r->flow.w.axis == r->p->w_rows ? r->flow.w.from : 0,
                        .x_at = r->x.at,
                        .w_at = r->w.at};
}

/* Between the steps of a long check. */
static kp_status time_left(const run *r, kp_err *err)
{
    if (kp_now_s() < r->checker->deadline_s) return KP_OK;
    return kp_fail(err, KP_INCONCLUSIVE, "the run's time was over in the middle of this check");
}

static kp_status forward(run *r, kp_difference *diff, double *ret_s, kp_err *err)
{
    const kp_flow *f = &r->flow;
    kp_mem whole_x;
    KP_TRY(time_left(r, err));
    KP_TRY(load(r, KP_DATA_X, f->x, &whole_x, err));
    if (r->p->has_w) KP_TRY(load(r, KP_DATA_W, f->w, &r->w, err));
    KP_TRY(kp_mover_alloc(&r->mover, kp_block_elems(f->y_local), &r->y_local, err));
    KP_TRY(r->exec->ops->sync(r->exec, err));
    double start_s = kp_now_s();
    KP_TRY(kp_mover_run(&r->mover, KP_MOVE_SLICE, &f->slice_x, whole_x, &r->x, err));
    kp_op_call call = call_of(r, KP_FORWARD);
    call.y_at = r->y_local.at;
    KP_TRY(r->exec->ops->run_op(r->exec, &call, err));
    KP_TRY(kp_mover_run(&r->mover, KP_MOVE_FORWARD, &f->forward, r->y_local, &r->y, err));
    KP_TRY(r->exec->ops->sync(r->exec, err));
    *ret_s = kp_now_s() - start_s;
    return compare(r, "y", r->y, f->y, r->truth.y, diff, err);
}

static kp_status backward(run *r, kp_difference *diff, double *ret_s, kp_err *err)
{
    const kp_flow *f = &r->flow;
    const kp_problem *p = r->p;
    kp_mem dy, dx = {0}, dw = {0};
    KP_TRY(time_left(r, err));
    KP_TRY(load(r, KP_DATA_DY, f->y, &r->dy, err));
    if (p->has_dx) KP_TRY(kp_mover_alloc(&r->mover, kp_block_elems(f->x_used), &dx, err));
    if (p->has_w) KP_TRY(kp_mover_alloc(&r->mover, kp_block_elems(f->w), &dw, err));
    KP_TRY(r->exec->ops->sync(r->exec, err));
    double start_s = kp_now_s();
    KP_TRY(kp_mover_run(&r->mover, KP_MOVE_ADJOINT, &f->adjoint, r->dy, &dy, err));
    kp_op_call call = call_of(r, KP_BACKWARD);
    call.dy_at = dy.at;
    call.dx_at = dx.at;
    call.dw_at = dw.at;
    KP_TRY(r->exec->ops->run_op(r->exec, &call, err));
    if (p->has_dx) KP_TRY(kp_mover_run(&r->mover, KP_MOVE_DX, &f->dx, dx, &r->dx, err));
    if (p->has_w) KP_TRY(kp_mover_run(&r->mover, KP_MOVE_DW, &f->dw, dw, &r->dw, err));
    KP_TRY(r->exec->ops->sync(r->exec, err));
    *ret_s = kp_now_s() - start_s;
    if (p->has_dx) KP_TRY(compare(r, "the gradient of x", r->dx, f->x, r->truth.dx, diff, err));
    if (p->has_w)
        KP_TRY(compare(r, "the gradient of the weight", r->dw, f->w, r->truth.dw, diff, err));
    return KP_OK;
}

/* ---- rows ---- */

kp_check_state kp_check_state_of(kp_status status)
{
    if (status == KP_OK) return KP_CHECK_OK;
    if (status == KP_UNSUPPORTED) return KP_CHECK_NOT_COVERED;
    return status == KP_VERIFY_FAILED ? KP_CHECK_FAILED : KP_CHECK_INCONCLUSIVE;
}

void kp_check_fill(const kp_check_spec *spec, kp_check_state state, const char *message,
                   kp_check ret[KP_DIRECTION_COUNT])
{
    for (int i = 0; i < KP_DIRECTION_COUNT; i++)
        ret[i] = (kp_check){.layer = spec->layer,
                            .op = spec->op,
                            .cut = spec->cut,
                            .direction = (kp_direction)i,
                            .grade = KP_GRADE_EXACT,
                            .ranks = spec->n_ranks,
                            .state = state,
                            .message = message};
}

/* One direction's outcome as a row. */
static void write_row(const run *r, kp_direction direction, kp_status status, const kp_err *err,
                      const kp_difference *diff, double seconds, kp_arena *arena, kp_check *row)
{
    row->seconds = seconds;
    row->state = kp_check_state_of(status);
    row->error = diff->largest;
    row->peak_bytes_measured = r->exec->ops->peak_bytes(r->exec);
    row->peak_bytes_predicted = kp_flow_bytes(r->p, &r->flow, r->job->group.n, direction);
    if (status != KP_OK) row->message = kp_arena_str(arena, err->msg);
    if (status == KP_OK && diff->count > 0) {
        row->state = KP_CHECK_FAILED;
        row->message = kp_difference_text(diff, arena);
    }
}

static kp_status prepare_run(run *r, kp_err *err)
{
    const kp_check_job *job = r->job;
    uint64_t seed = kp_data_mix(r->checker->seed, job->index);
    KP_TRY(kp_flow_make(r->p, job->row, job->group.me, job->group.n, &r->flow, err));
    return kp_data_make(r->p, seed, &r->data, err);
}

static void run_both(run *r, kp_arena *arena, kp_check ret[KP_DIRECTION_COUNT])
{
    kp_err err = {0};
    kp_difference diff = {0};
    double seconds = 0;
    kp_status status = kp_truth_make(r->p, &r->data, &r->truth, &err);
    if (status == KP_OK) status = forward(r, &diff, &seconds, &err);
    write_row(r, KP_FORWARD, status, &err, &diff, seconds, arena, &ret[KP_FORWARD]);
    if (status == KP_OK) {
        seconds = 0;
        diff = (kp_difference){0};
        status = backward(r, &diff, &seconds, &err);
    }
    write_row(r, KP_BACKWARD, status, &err, &diff, seconds, arena, &ret[KP_BACKWARD]);
    if (status != KP_OK) kp_mover_refuse(&r->mover, &r->flow, &err);
}

bool kp_check_prepare(const kp_checker *c, const kp_check_spec *spec, uint32_t index,
                      kp_check_job *ret)
{
    uint32_t me = 0;
    while (me < spec->n_ranks && spec->ranks[me] != c->rank) me++;
    if (me == spec->n_ranks) return false;
    *ret = (kp_check_job){.spec = spec,
                          .index = index,
                          .group = {.ranks = spec->ranks, .n = spec->n_ranks, .me = me}};
    for (size_t i = 0; i < c->n_rows && !ret->row; i++)
        if (c->rows[i].op == spec->op && c->rows[i].cut == spec->cut) ret->row = &c->rows[i];
    if (!c->exec->ops->covers(spec->op))
        kp_fail(&ret->err, KP_UNSUPPORTED, "the %s executor has no row for this op",
                c->exec->ops->name);
    else if (!ret->row)
        kp_fail(&ret->err, KP_UNSUPPORTED, "the shard table has no row for this op and cut");
    else if (kp_problem_make(spec, &ret->problem, &ret->err) == KP_OK)
        ret->reduced = kp_problem_reduce(&ret->problem, ret->row, spec->n_ranks, c->shape_limit);
    return true;
}

void kp_check_run(const kp_checker *checker, const kp_check_job *job, kp_arena *arena,
                  kp_check ret[KP_DIRECTION_COUNT])
{
    kp_err err = job->err;
    run r = {.checker = checker, .job = job, .exec = checker->exec, .p = &job->problem};
    if (err.code == KP_OK) prepare_run(&r, &err);
    kp_check_fill(job->spec, kp_check_state_of(err.code),
                  err.code == KP_OK ? NULL : kp_arena_str(arena, err.msg), ret);
    if (err.code != KP_OK) return;
    r.exec->ops->reset_peak(r.exec);
    kp_mover_init(&r.mover, r.exec, job->group, (uint64_t)job->index << 8, arena);
    run_both(&r, arena, ret);
    kp_mover_release(&r.mover);
    kp_truth_release(&r.truth);
}
