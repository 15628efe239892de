/* SPDX-License-Identifier: MIT
 *
 * The host executor: memory of this machine, plain loops, collectives over the run's channel. */
#include "agent/verify/exec.h"

typedef struct host {
    kp_exec base;
    kp_channel *channel;
    uint64_t used_bytes, peak_bytes;
} host;

static kp_status host_open(const kp_exec_env *env, kp_exec **ret, kp_err *err)
{
    host *h = calloc(1, sizeof(*h));
    if (!h) return kp_nomem(err);
    h->base.ops = &kp_exec_host;
    h->channel = env->channel;
    *ret = &h->base;
    return KP_OK;
}

static void host_close(kp_exec *exec)
{
    free(exec);
}

static uint64_t bytes_of(uint64_t elems)
{
    return kp_mul_u64(elems, sizeof(float));
}

static kp_status host_alloc(kp_exec *exec, uint64_t elems, kp_mem *ret, kp_err *err)
{
    host *h = (host *)exec;
    uint64_t bytes = bytes_of(elems);
    if (!kp_size_ok(bytes)) return kp_nomem(err);
    void *at = malloc(bytes ? (size_t)bytes : 1);
    if (!at) return kp_nomem(err);
    memset(at, 0xff, (size_t)bytes); /* NaN */
    h->used_bytes += bytes;
    h->peak_bytes = kp_max_u64(h->peak_bytes, h->used_bytes);
    *ret = (kp_mem){at, elems};
    return KP_OK;
}

static void host_free(kp_exec *exec, kp_mem mem)
{
    if (!mem.at) return;
    ((host *)exec)->used_bytes -= bytes_of(mem.elems);
    free(mem.at);
}

static kp_status host_put(kp_exec *exec, kp_mem to, const void *from, kp_err *err)
{
    (void)exec, (void)err;
    memcpy(to.at, from, bytes_of(to.elems));
    return KP_OK;
}

static kp_status host_get(kp_exec *exec, void *to, kp_mem from, kp_err *err)
{
    (void)exec, (void)err;
    memcpy(to, from.at, bytes_of(from.elems));
    return KP_OK;
}

static kp_status host_copy(kp_exec *exec, const kp_exec_copy *c, kp_err *err)
{
    (void)exec, (void)err;
    for (uint64_t row = 0; row < c->rows; row++)
        memcpy(c->to.at + c->to_offset + row * c->to_pitch,
               c->from.at + c->from_offset + row * c->from_pitch, bytes_of(c->width));
    return KP_OK;
}

static kp_status host_run(kp_exec *exec, const kp_op_call *call, kp_err *err)
{
    (void)exec, (void)err;
    kp_host_run(call);
    return KP_OK;
}

/* The sum of all blocks comes to everyone, each keeps the own one. */
static kp_status reduce_scatter(host *h, const kp_exec_coll *c, kp_err *err)
{
    kp_mem sum;
    KP_TRY(host_alloc(&h->base, c->in.elems, &sum, err));
    size_t len = bytes_of(c->in.elems);
    kp_status status = kp_channel_meet(h->channel, c->group, c->key, KP_JOIN_SUM, c->in.at, len,
                                       c->failed, sum.at, len, err);
    uint64_t from = 0;
    for (uint32_t i = 0; i < c->group.me; i++) from += c->counts[i];
    if (status == KP_OK) memcpy(c->out.at, sum.at + from, bytes_of(c->out.elems));
    host_free(&h->base, sum);
    return status;
}

static kp_status host_collective(kp_exec *exec, const kp_exec_coll *c, kp_err *err)
{
    host *h = (host *)exec;
    if (c->coll == KP_COLL_REDUCE_SCATTER && !c->failed) return reduce_scatter(h, c, err);
    kp_join join = c->coll == KP_COLL_ALL_REDUCE ? KP_JOIN_SUM : KP_JOIN_CONCAT;
    return kp_channel_meet(h->channel, c->group, c->key, join, c->in.at, bytes_of(c->in.elems),
                           c->failed, c->out.at, bytes_of(c->out.elems), err);
}

static kp_status host_sync(kp_exec *exec, kp_err *err)
{
    (void)exec, (void)err;
    return KP_OK;
}

static uint64_t host_peak(const kp_exec *exec)
{
    return ((const host *)exec)->peak_bytes;
}

static void host_reset(kp_exec *exec)
{
    host *h = (host *)exec;
    h->peak_bytes = h->used_bytes;
}

const kp_exec_ops kp_exec_host = {
    .name = "host",
    .open = host_open,
    .close = host_close,
    .covers = kp_host_covers,
    .alloc = host_alloc,
    .free = host_free,
    .put = host_put,
    .get = host_get,
    .copy = host_copy,
    .run_op = host_run,
    .collective = host_collective,
    .sync = host_sync,
    .peak_bytes = host_peak,
    .reset_peak = host_reset,
};
