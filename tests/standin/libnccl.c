/* SPDX-License-Identifier: MIT
 *
 * Stand-in for NCCL: collectives between processes over a file in shared memory that the unique id
 * names. A communicator has a thread, which joins the others and then works off its queue; the
 * calls return at once, as those of a non-blocking communicator do. Every rank has a slot in the
 * file: it posts its part there, waits until all have posted the same kind of step, takes what it
 * needs, and waits until all have taken. */
#include "tests/standin/standin.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DECLARE(library, result, name, arguments) result name arguments;
KP_CUDA_FUNCTIONS(DECLARE)

enum { RANKS_MAX = 64, SLOT_FLOATS = 1 << 16, QUEUE_MAX = 256 };

typedef enum op_kind { ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, BROADCAST, REDUCE } op_kind;

typedef struct op {
    op_kind kind;
    const float *from;
    float *to;
    size_t count;
    int root;
    standin_stream *stream;
} op;

typedef struct slot {
    atomic_ulong posted, taken; /* steps */
    atomic_ulong what;          /* of the posted step: must be equal on all ranks */
    float data[SLOT_FLOATS];
} slot;

typedef struct shared {
    atomic_int joined;
    slot slots[];
} shared;

typedef struct comm {
    int n, rank;
    char name[64];
    size_t bytes;
    shared *shared;
    pthread_t thread;
    atomic_int state; /* ncclResult_t */
    atomic_int stop;  /* 1: when the queue is empty; 2: at once */
    pthread_mutex_t lock;
    op queue[QUEUE_MAX];
    unsigned first, last; /* of the queue */
    unsigned long steps;
    unsigned done; /* collectives */
} comm;

/* ---- knobs ---- */

/* True if the variable says "RANK:number". */
static int knob(const char *name, int rank, unsigned number)
{
    const char *text = getenv(name);
    int r;
    unsigned n;
    return text && sscanf(text, "%d:%u", &r, &n) == 2 && r == rank && n == number;
}

static int stopped(comm *c)
{
    return atomic_load(&c->stop) == 2;
}

/* ---- steps between the ranks ---- */

static slot *slot_of(comm *c, int rank)
{
    return &c->shared->slots[rank];
}

/* Waits until every rank's counter is at `step`; false if told to stop. */
static int all_at(comm *c, size_t offset, unsigned long step)
{
    for (int r = 0; r < c->n; r++) {
        atomic_ulong *counter = (atomic_ulong *)(void *)((char *)slot_of(c, r) + offset);
        while (atomic_load(counter) < step) {
            if (stopped(c)) return 0;
            standin_sleep();
        }
    }
    return 1;
}

/* Posts `n` floats; true when all ranks have posted the same kind of step. */
static int post(comm *c, const op *o, const float *from, size_t n)
{
    slot *own = slot_of(c, c->rank);
    unsigned long what = (unsigned long)o->kind << 56 ^ (unsigned long)o->root << 40 ^ o->count;
    if (n > 0) memcpy(own->data, from, n * sizeof(float));
    atomic_store(&own->what, what);
    atomic_store(&own->posted, ++c->steps);
    if (!all_at(c, offsetof(slot, posted), c->steps)) return 0;
    for (int r = 0; r < c->n; r++)
        if (atomic_load(&slot_of(c, r)->what) != what) {
            atomic_store(&c->state, KP_ncclInvalidUsage);
            return 0;
        }
    return 1;
}

static int taken(comm *c)
{
    atomic_store(&slot_of(c, c->rank)->taken, c->steps);
    return all_at(c, offsetof(slot, taken), c->steps);
}

/* Sums the ranks' slots, from `offset`, in rank order. */
static void sum_slots(comm *c, float *to, size_t offset, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float sum = slot_of(c, 0)->data[offset + i];
        for (int r = 1; r < c->n; r++) sum += slot_of(c, r)->data[offset + i];
        to[i] = sum;
    }
}

/* `n` elements of an op, from element `at` on; false if it cannot be finished. */
static int run_piece(comm *c, const op *o, size_t at, size_t n)
{
    const size_t ranks = (size_t)c->n, own = (size_t)c->rank;
    switch (o->kind) {
    case ALL_REDUCE:
    case REDUCE:
        if (!post(c, o, o->from + at, n)) return 0;
        if (o->kind == ALL_REDUCE || o->root == c->rank) sum_slots(c, o->to + at, 0, n);
        break;
    case ALL_GATHER:
        if (!post(c, o, o->from + at, n)) return 0;
        for (size_t r = 0; r < ranks && n > 0; r++)
            memcpy(o->to + r * o->count + at, slot_of(c, (int)r)->data, n * sizeof(float));
        break;
    case BROADCAST:
        if (!post(c, o, o->from + at, o->root == c->rank ? n : 0)) return 0;
        if (n > 0) memmove(o->to + at, slot_of(c, o->root)->data, n * sizeof(float));
        break;
    case REDUCE_SCATTER: {
        slot *mine = slot_of(c, c->rank);
        for (size_t r = 0; r < ranks && n > 0; r++)
            memcpy(mine->data + r * n, o->from + r * o->count + at, n * sizeof(float));
        if (!post(c, o, NULL, 0)) return 0;
        sum_slots(c, o->to + at, own * n, n);
        break;
    }
    }
    return taken(c);
}

static void run_op(comm *c, const op *o)
{
    size_t piece = SLOT_FLOATS / (o->kind == REDUCE_SCATTER ? (size_t)c->n : 1);
    size_t at = 0;
    if (knob("KP_STANDIN_EXIT", c->rank, c->done)) _exit(9);
    if (knob("KP_STANDIN_HANG", c->rank, c->done))
        while (!stopped(c)) standin_sleep();
    if (knob("KP_STANDIN_REMOTE", c->rank, c->done)) {
        atomic_store(&c->state, KP_ncclRemoteError);
        while (!stopped(c)) standin_sleep();
    }
    do {
        size_t n = o->count - at < piece ? o->count - at : piece;
        if (!run_piece(c, o, at, n)) {
            while (!stopped(c)) standin_sleep(); /* a kernel that never ends */
            return;
        }
        at += n;
    } while (at < o->count);
}

/* ---- the communicator's thread ---- */

static int join_others(comm *c)
{
    if (knob("KP_STANDIN_HANG", c->rank, 0)) return 0;
    int fd = shm_open(c->name, O_RDWR | O_CREAT, 0600);
    void *at = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)c->bytes) == 0)
        at = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (at == MAP_FAILED) {
        atomic_store(&c->state, KP_ncclInternalError);
        return 0;
    }
    c->shared = at;
    atomic_fetch_add(&c->shared->joined, 1);
    while (atomic_load(&c->shared->joined) < c->n) {
        if (stopped(c)) return 0;
        standin_sleep();
    }
    if (c->rank == 0) shm_unlink(c->name); /* all have it */
    atomic_store(&c->state, KP_ncclSuccess);
    return 1;
}

/* The next op; false when there is none and there will be none. */
static int next_op(comm *c, op *ret)
{
    for (;;) {
        pthread_mutex_lock(&c->lock);
        int any = c->first != c->last;
        if (any) *ret = c->queue[c->first % QUEUE_MAX];
        pthread_mutex_unlock(&c->lock);
        if (any) return 1;
        if (atomic_load(&c->stop)) return 0;
        standin_sleep();
    }
}

static void *work(void *arg)
{
    comm *c = arg;
    op o;
    if (!join_others(c)) {
        while (!stopped(c)) standin_sleep();
        return NULL;
    }
    while (!stopped(c) && next_op(c, &o)) {
        int busy = KP_ncclInProgress; /* launched: the call has done its part */
        atomic_compare_exchange_strong(&c->state, &busy, KP_ncclSuccess);
        c->done++;
        run_op(c, &o);
        pthread_mutex_lock(&c->lock);
        c->first++;
        pthread_mutex_unlock(&c->lock);
        atomic_fetch_sub(&o.stream->pending, 1);
    }
    return NULL;
}

/* ---- the library's functions ---- */

const char *ncclGetErrorString(kp_nccl_result result)
{
    switch (result) {
    case KP_ncclRemoteError:
        return "remote process exited or there was a network error";
    case KP_ncclInvalidUsage:
        return "invalid usage";
    case KP_ncclInvalidArgument:
        return "invalid argument";
    default:
        return "internal error";
    }
}

kp_nccl_result ncclGetUniqueId(kp_nccl_id *id)
{
    static atomic_int count;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    memset(id, 0, sizeof(*id));
    const char *tag = getenv("KP_STANDIN_TAG");
    snprintf(id->internal, sizeof(id->internal), "/kplan-standin-%.8s-%ld-%d-%ld", tag ? tag : "",
             (long)getpid(), atomic_fetch_add(&count, 1), now.tv_nsec);
    return KP_ncclSuccess;
}

kp_nccl_result ncclCommInitRankConfig(kp_nccl_comm *ret, int ranks, kp_nccl_id id, int rank,
                                      kp_nccl_config *config)
{
    *ret = NULL;
    if (ranks < 1 || ranks > RANKS_MAX || rank < 0 || rank >= ranks ||
        config->magic != KP_NCCL_CONFIG_MAGIC || config->size < sizeof(*config) ||
        config->blocking != 0 || strncmp(id.internal, "/kplan-standin-", 15) != 0)
        return KP_ncclInvalidArgument;
    comm *c = calloc(1, sizeof(*c));
    if (!c) return KP_ncclInternalError;
    c->n = ranks;
    c->rank = rank;
    c->bytes = sizeof(shared) + (size_t)ranks * sizeof(slot);
    snprintf(c->name, sizeof(c->name), "%.60s", id.internal);
    atomic_store(&c->state, KP_ncclInProgress);
    pthread_mutex_init(&c->lock, NULL);
    if (pthread_create(&c->thread, NULL, work, c) != 0) {
        free(c);
        return KP_ncclInternalError;
    }
    *ret = (kp_nccl_comm)(void *)c;
    return KP_ncclInProgress;
}

kp_nccl_result ncclCommGetAsyncError(kp_nccl_comm comm_, kp_nccl_result *error)
{
    comm *c = (comm *)(void *)comm_;
    *error = atomic_load(&c->state);
    return KP_ncclSuccess;
}

/* Ends the thread, lets the streams go on, frees. */
static kp_nccl_result end(comm *c, int how)
{
    atomic_store(&c->stop, how);
    pthread_join(c->thread, NULL);
    for (; c->first != c->last; c->first++)
        atomic_fetch_sub(&c->queue[c->first % QUEUE_MAX].stream->pending, 1);
    if (how == 2) shm_unlink(c->name);
    if (c->shared) munmap(c->shared, c->bytes);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return KP_ncclSuccess;
}

kp_nccl_result ncclCommFinalize(kp_nccl_comm comm_)
{
    comm *c = (comm *)(void *)comm_;
    return atomic_load(&c->state) == KP_ncclSuccess ? KP_ncclSuccess : KP_ncclInvalidUsage;
}

kp_nccl_result ncclCommDestroy(kp_nccl_comm comm_)
{
    return end((comm *)(void *)comm_, 1);
}

kp_nccl_result ncclCommAbort(kp_nccl_comm comm_)
{
    return end((comm *)(void *)comm_, 2);
}

/* ---- groups: ops of a group are queued together at its end ---- */

static _Thread_local int depth;
static _Thread_local unsigned n_grouped;
static _Thread_local struct {
    comm *c;
    op o;
} grouped[QUEUE_MAX];

static void enqueue(comm *c, op o)
{
    atomic_fetch_add(&o.stream->pending, 1);
    atomic_store(&c->state, KP_ncclInProgress);
    pthread_mutex_lock(&c->lock);
    c->queue[c->last++ % QUEUE_MAX] = o;
    pthread_mutex_unlock(&c->lock);
}

kp_nccl_result ncclGroupStart(void)
{
    depth++;
    return KP_ncclSuccess;
}

kp_nccl_result ncclGroupEnd(void)
{
    if (--depth > 0) return KP_ncclSuccess;
    unsigned n = n_grouped;
    for (unsigned i = 0; i < n; i++) enqueue(grouped[i].c, grouped[i].o);
    n_grouped = 0;
    return n > 0 ? KP_ncclInProgress : KP_ncclSuccess;
}

static kp_nccl_result call(kp_nccl_comm comm_, kp_nccl_type type, op o, kp_cuda_stream stream)
{
    comm *c = (comm *)(void *)comm_;
    if (type != KP_ncclFloat32 || !stream || o.root < 0 || o.root >= c->n)
        return KP_ncclInvalidArgument;
    if (atomic_load(&c->state) != KP_ncclSuccess || n_grouped == QUEUE_MAX)
        return KP_ncclInvalidUsage;
    o.stream = (standin_stream *)(void *)stream;
    if (depth > 0) {
        grouped[n_grouped].c = c;
        grouped[n_grouped++].o = o;
        return KP_ncclSuccess;
    }
    enqueue(c, o);
    return KP_ncclInProgress;
}

kp_nccl_result ncclAllReduce(const void *from, void *to, size_t count, kp_nccl_type type,
                             kp_nccl_op sum, kp_nccl_comm comm_, kp_cuda_stream stream)
{
    if (sum != KP_ncclSum) return KP_ncclInvalidArgument;
    return call(comm_, type, (op){ALL_REDUCE, from, to, count, 0, NULL}, stream);
}

kp_nccl_result ncclAllGather(const void *from, void *to, size_t count, kp_nccl_type type,
                             kp_nccl_comm comm_, kp_cuda_stream stream)
{
    return call(comm_, type, (op){ALL_GATHER, from, to, count, 0, NULL}, stream);
}

kp_nccl_result ncclReduceScatter(const void *from, void *to, size_t count, kp_nccl_type type,
                                 kp_nccl_op sum, kp_nccl_comm comm_, kp_cuda_stream stream)
{
    if (sum != KP_ncclSum) return KP_ncclInvalidArgument;
    return call(comm_, type, (op){REDUCE_SCATTER, from, to, count, 0, NULL}, stream);
}

kp_nccl_result ncclBroadcast(const void *from, void *to, size_t count, kp_nccl_type type, int root,
                             kp_nccl_comm comm_, kp_cuda_stream stream)
{
    return call(comm_, type, (op){BROADCAST, from, to, count, root, NULL}, stream);
}

kp_nccl_result ncclReduce(const void *from, void *to, size_t count, kp_nccl_type type,
                          kp_nccl_op sum, int root, kp_nccl_comm comm_, kp_cuda_stream stream)
{
    if (sum != KP_ncclSum) return KP_ncclInvalidArgument;
    return call(comm_, type, (op){REDUCE, from, to, count, root, NULL}, stream);
}
