/* SPDX-License-Identifier: MIT
 *
 * Collectives of the CUDA executor. Communicators are made non-blocking: every call returns at once
 * and the communicator is asked until it says that it is done, so that a rank that hangs costs the
 * others no more than their deadline; then ncclCommAbort frees them. */
#include "agent/verify/exec_cuda.h"
#include "proto/clock.h"

static kp_status nccl_failed(const kp_cuda_exec *e, kp_nccl_result result, const char *what,
                             kp_err *err)
{
    return kp_fail(err, KP_INCONCLUSIVE, "%s: %s (NCCL result %d)", what,
                   e->api.ncclGetErrorString(result), (int)result);
}

/* Waits until a communicator has nothing in progress. `first` is what the call returned. */
static kp_status settle(const kp_cuda_exec *e, kp_nccl_comm comm, kp_nccl_result first,
                        double deadline_s, const char *what, kp_err *err)
{
    kp_nccl_result state = first;
    for (uint32_t turn = 0; state == KP_ncclInProgress || turn == 0; turn++) {
        if (state != KP_ncclSuccess && state != KP_ncclInProgress) break;
        if (kp_now_s() >= deadline_s)
            return kp_fail(err, KP_INCONCLUSIVE, "%s did not finish in time", what);
        if (turn > 0) {
            KP_TRY(kp_channel_check(e->channel, err));
            kp_cuda_pause(turn);
        }
        kp_nccl_result asked = e->api.ncclCommGetAsyncError(comm, &state);
        if (asked != KP_ncclSuccess) state = asked;
    }
    return state == KP_ncclSuccess ? KP_OK : nccl_failed(e, state, what, err);
}

/* Waits for the stream, watching the communicator: a peer's failure shows there. */
static kp_status finish(const kp_cuda_exec *e, kp_nccl_comm comm, const char *what, kp_err *err)
{
    for (uint32_t turn = 0;; turn++) {
        kp_cuda_error error = e->api.cudaStreamQuery(e->stream);
        if (error != KP_cudaErrorNotReady) return kp_cuda_check(e, error, what, err);
        kp_nccl_result state = KP_ncclSuccess, asked = e->api.ncclCommGetAsyncError(comm, &state);
        if (asked != KP_ncclSuccess) state = asked;
        if (state != KP_ncclSuccess && state != KP_ncclInProgress)
            return nccl_failed(e, state, what, err);
        if (kp_now_s() >= e->deadline_s)
            return kp_fail(err, KP_INCONCLUSIVE, "%s did not finish in time", what);
        KP_TRY(kp_channel_check(e->channel, err));
        kp_cuda_pause(turn);
    }
}

/* Gives a communicator up, and with it the run: the other members can only wait. */
static void give_up(kp_cuda_exec *e, kp_nccl_comm *comm, const kp_err *why)
{
    e->broken = true;
    if (*comm) e->api.ncclCommAbort(*comm);
    *comm = NULL;
    kp_channel_break(e->channel, why);
}

/* ---- communicators ---- */

static kp_cuda_comm *find_comm(const kp_cuda_exec *e, kp_group group)
{
    for (kp_cuda_comm *c = e->comms; c; c = c->next)
        if (c->n == group.n && memcmp(c->ranks, group.ranks, group.n * sizeof(uint32_t)) == 0)
            return c;
    return NULL;
}

/* The members agree on an id: the first one makes it, the channel takes it around. */
static kp_status share_id(kp_cuda_exec *e, kp_group group, uint64_t key, kp_nccl_id *ret,
                          kp_err *err)
{
    kp_err why = {0};
    bool first = group.me == 0;
    kp_nccl_result result = first ? e->api.ncclGetUniqueId(ret) : KP_ncclSuccess;
    if (result != KP_ncclSuccess) nccl_failed(e, result, "ncclGetUniqueId", &why);
    kp_nccl_id mine = *ret;
    return kp_channel_meet(e->channel, group, key, KP_JOIN_CONCAT, &mine, first ? sizeof(mine) : 0,
                           why.code != KP_OK ? &why : NULL, ret, sizeof(*ret), err);
}

static kp_status make_comm(kp_cuda_exec *e, kp_group group, uint64_t key, kp_cuda_comm **ret,
                           kp_err *err)
{
    kp_nccl_id id = {{0}};
    kp_nccl_config config = {.size = sizeof(config),
                             .magic = KP_NCCL_CONFIG_MAGIC,
                             .version = KP_NCCL_CONFIG_VERSION,
                             .blocking = 0};
    kp_cuda_comm *c = calloc(1, sizeof(*c) + group.n * sizeof(c->ranks[0]));
    kp_err out_of_memory = {0};
    if (!c) kp_nomem(&out_of_memory);
    if (!c) /* the others must hear of it where they wait for the id */
        return kp_channel_meet(e->channel, group, key, KP_JOIN_CONCAT, NULL, 0, &out_of_memory,
                               NULL, 0, err);
    kp_status status = share_id(e, group, key, &id, err);
    if (status != KP_OK) {
        free(c);
        return status;
    }
    c->n = group.n;
    memcpy(c->ranks, group.ranks, group.n * sizeof(c->ranks[0]));
    c->next = e->comms;
    e->comms = c;
    kp_nccl_result result =
        e->api.ncclCommInitRankConfig(&c->comm, (int)group.n, id, (int)group.me, &config);
    *ret = c;
    return settle(e, c->comm, result, e->deadline_s, "ncclCommInitRank", err);
}

void kp_cuda_comms_close(kp_cuda_exec *e)
{
    while (e->comms) {
        kp_cuda_comm *c = e->comms;
        e->comms = c->next;
        if (c->comm) {
            kp_nccl_result result =
                e->broken ? KP_ncclInternalError : e->api.ncclCommFinalize(c->comm);
            if (!e->broken &&
                settle(e, c->comm, result, e->deadline_s, "ncclCommFinalize", NULL) == KP_OK)
                e->api.ncclCommDestroy(c->comm);
            else
                e->api.ncclCommAbort(c->comm);
        }
        free(c);
    }
}

/* ---- collectives ---- */

/* Blocks of different sizes have no collective of their own: one broadcast or reduction for each,
 * in one group, so that they progress together. */
static kp_nccl_result uneven(const kp_cuda_exec *e, const kp_exec_coll *c, kp_nccl_comm comm)
{
    float *all = c->coll == KP_COLL_ALL_GATHER ? c->out.at : c->in.at;
    kp_nccl_result result = KP_ncclSuccess;
    for (uint32_t i = 0; i < c->group.n && result == KP_ncclSuccess; i++) {
        size_t count = (size_t)c->counts[i];
        if (c->coll == KP_COLL_ALL_GATHER)
            result =
                e->api.ncclBroadcast(c->in.at, all, count, KP_ncclFloat32, (int)i, comm, e->stream);
        else
            result = e->api.ncclReduce(all, c->out.at, count, KP_ncclFloat32, KP_ncclSum, (int)i,
                                       comm, e->stream);
        all += count;
        if (result == KP_ncclInProgress) result = KP_ncclSuccess;
    }
    return result;
}

static kp_nccl_result enqueue(const kp_cuda_exec *e, const kp_exec_coll *c, kp_nccl_comm comm)
{
    if (c->coll == KP_COLL_ALL_REDUCE)
        return e->api.ncclAllReduce(c->in.at, c->out.at, c->in.elems, KP_ncclFloat32, KP_ncclSum,
                                    comm, e->stream);
    bool even = true;
    for (uint32_t i = 1; i < c->group.n; i++) even = even && c->counts[i] == c->counts[0];
    if (!even) return uneven(e, c, comm);
    if (c->coll == KP_COLL_ALL_GATHER)
        return e->api.ncclAllGather(c->in.at, c->out.at, c->counts[0], KP_ncclFloat32, comm,
                                    e->stream);
    return e->api.ncclReduceScatter(c->in.at, c->out.at, c->counts[0], KP_ncclFloat32, KP_ncclSum,
                                    comm, e->stream);
}

static kp_status run(kp_cuda_exec *e, const kp_exec_coll *coll, kp_nccl_comm comm, kp_err *err)
{
    const char *what = kp_coll_names[coll->coll];
    kp_nccl_result started = e->api.ncclGroupStart();
    if (started != KP_ncclSuccess) return nccl_failed(e, started, "ncclGroupStart", err);
    kp_nccl_result queued = enqueue(e, coll, comm), ended = e->api.ncclGroupEnd();
    if (queued != KP_ncclSuccess && queued != KP_ncclInProgress)
        return nccl_failed(e, queued, what, err);
    KP_TRY(settle(e, comm, ended, e->deadline_s, what, err));
    return finish(e, comm, what, err);
}

kp_status kp_cuda_collective(kp_cuda_exec *e, const kp_exec_coll *coll, kp_err *err)
{
    /* Nobody enters NCCL before all members have said that they can. */
    KP_TRY(kp_channel_meet(e->channel, coll->group, coll->key, KP_JOIN_CONCAT, NULL, 0,
                           coll->failed, NULL, 0, err));
    if (e->broken) return kp_fail(err, KP_INCONCLUSIVE, "a collective before failed");
    kp_err why = {0};
    kp_cuda_comm *c = find_comm(e, coll->group);
    kp_status status = KP_OK;
    if (!c) {
        status = make_comm(e, coll->group, coll->key + 1, &c, &why);
        if (status != KP_OK && !c) return kp_fail(err, status, "%s", why.msg); /* for all */
    }
    if (status == KP_OK) status = run(e, coll, c->comm, &why);
    if (status == KP_OK) return KP_OK;
    give_up(e, &c->comm, &why);
    return kp_fail(err, KP_INCONCLUSIVE, "%s", why.msg);
}
