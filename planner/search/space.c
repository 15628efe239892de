/* SPDX-License-Identifier: MIT */
#include "planner/search/space.h"
#include "planner/search/cuts.h"
#include <inttypes.h>

#define Z0    1u
#define Z01   3u
#define Z03   9u
#define Z0123 15u

/* clang-format off */
const kp_target_row kp_target_rows[KP_TARGET_COUNT] = {
    [KP_TARGET_AUTO] = {true, true, Z0123, Z0123, "any target"},
    [KP_TARGET_ANY] = {true, true, Z0123, Z0123, "any target"},
    [KP_TARGET_KERAS_JAX] = {true, false, Z03, Z03,
                             "keras.distribution divides batches and variables (DataParallel, "
                             "ModelParallel) and has no pipeline"},
    [KP_TARGET_KERAS_TF] = {false, false, Z0, Z0,
                            "tf.distribute strategies replicate a Keras model and divide batches"},
    [KP_TARGET_KERAS_TORCH] = {false, false, Z0, Z0,
                               "Keras on torch runs under DistributedDataParallel"},
    [KP_TARGET_TORCH] = {true, true, Z0123, Z0123, "torch.distributed"},
    [KP_TARGET_DEEPSPEED] = {true, true, Z0123, Z01,
                             "DeepSpeed's pipeline works with ZeRO 0 and 1 only"},
    [KP_TARGET_MEGATRON] = {true, true, Z0123, Z01,
                            "Megatron's pipeline works with the distributed optimizer (ZeRO 1)"},
};
/* clang-format on */

/* Degrees as given; 0: to be searched. */
typedef struct given {
    uint32_t dp, tp, pp, micro_batch;
} given;

static uint32_t or_auto(uint32_t value)
{
    return value == UINT32_MAX ? 0 : value;
}

static given given_of(const kp_options *o)
{
    return (given){or_auto(o->dp), or_auto(o->tp), or_auto(o->pp), or_auto(o->micro_batch)};
}

/* ---- what no search can mend ---- */

kp_status kp_space_check_target(kp_target of, const kp_options *options, kp_err *err)
{
    given g = given_of(options);
    const kp_target_row *row = &kp_target_rows[of];
    const char *target = kp_target_names[of];
    uint32_t zero = options->zero;
    kp_status status = KP_OK;
    if (g.tp > 1 && !row->tp)
        status = kp_fail(err, KP_UNSUPPORTED,
                         "target '%s' has no tensor parallelism, --tp is %" PRIu32, target, g.tp);
    else if (g.pp > 1 && !row->pp)
        status = kp_fail(err, KP_UNSUPPORTED, "target '%s' has no pipeline, --pp is %" PRIu32,
                         target, g.pp);
    else if (zero <= 3 && !((g.pp > 1 ? row->zeros_pipeline : row->zeros) >> zero & 1))
        status = kp_fail(err, KP_UNSUPPORTED, "target '%s' has no ZeRO level %" PRIu32 "%s", target,
                         zero, g.pp > 1 ? " with a pipeline" : "");
    if (status != KP_OK) kp_hint(err, "%s; --target any plans without that limit", row->why);
    return status;
}

kp_status kp_space_check_schedule(const kp_options *o, kp_err *err)
{
    bool chunks = or_auto(o->interleave) > 1;
    if (o->schedule != KP_SCHEDULE_INTERLEAVED && !chunks) return KP_OK;
    kp_fail(err, KP_UNSUPPORTED, "interleaved pipeline schedules are not planned yet");
    kp_hint(err, "--schedule 1f1b or gpipe");
    return KP_UNSUPPORTED;
}

/* Degrees must multiply to the GPUs, or to a number that can still be filled up. */
static kp_status check_product(const kp_search_request *request, given g, kp_err *err)
{
    uint64_t product = 1;
    uint32_t gpus = request->cluster->n_slots;
    bool all = g.dp && g.tp && g.pp;
    const uint32_t degrees[] = {g.dp, g.tp, g.pp};
    for (size_t i = 0; i < KP_LEN(degrees); i++)
        if (degrees[i]) product = kp_mul_u64(product, degrees[i]);
    bool fewer_allowed = request->options->objective == KP_OBJECTIVE_GPUS ||
                         request->options->objective == KP_OBJECTIVE_COST;
    if (fewer_allowed ? product <= gpus : all ? product == gpus : gpus % product == 0) return KP_OK;
    kp_fail(err, KP_USAGE,
            "the degrees given multiply to %" PRIu64 ", which %s the %" PRIu32 " GPUs", product,
            all ? "is not" : "does not divide", gpus);
    kp_hint(err, "leave out one of --dp, --tp, --pp, or take other GPUs with --nodes and "
                 "--gpus-per-node");
    return KP_USAGE;
}

static kp_status check_batch(const kp_search_request *request, given g, kp_err *err)
{
    uint64_t batch = request->training->batch, share = g.dp ? batch / g.dp : batch;
    if (g.dp && batch % g.dp) {
        kp_fail(err, KP_USAGE, "--dp %" PRIu32 " does not divide the batch of %" PRIu64, g.dp,
                batch);
        kp_hint(err, "--batch %" PRIu64 " can be divided so", kp_round_up(batch, g.dp));
        return KP_USAGE;
    }
    if (g.micro_batch && share % g.micro_batch) {
        kp_fail(err, KP_USAGE,
                "--micro-batch %" PRIu32 " does not divide the %" PRIu64 " samples of %s",
                g.micro_batch, share, g.dp ? "a replica" : "the batch");
        kp_hint(err, "--batch %" PRIu64 " can be divided so",
                kp_round_up(batch, kp_mul_u64(g.dp ? g.dp : 1, g.micro_batch)));
        return KP_USAGE;
    }
    return KP_OK;
}

kp_status kp_space_check(const kp_search_request *request, kp_err *err)
{
    given g = given_of(request->options);
    KP_TRY(kp_space_check_target(request->training->target, request->options, err));
    KP_TRY(kp_space_check_schedule(request->options, err));
    KP_TRY(kp_cuts_allow(request->graph, g.tp, err));
    KP_TRY(check_product(request, g, err));
    return check_batch(request, g, err);
}

/* ---- the points ---- */

/* Every group of tp neighbours is in one node. Slots stand node by node. */
static bool tp_in_nodes(const kp_cluster *cluster, uint32_t gpus, uint32_t tp)
{
    for (uint32_t i = 0; i < gpus; i += tp)
        if (cluster->slots[i].node_index != cluster->slots[i + tp - 1].node_index) return false;
    return true;
}

typedef struct lister {
    const kp_search_request *request;
    given given;
    uint64_t batch;
    kp_arena *arena;
    kp_point *points;
    size_t n, cap;
} lister;

static bool takes(uint32_t degree, uint32_t wish)
{
    return wish == 0 || degree == wish;
}

/* Micro-batches, the largest first. A batch that the file fixes is not divided further. */
static bool list_micro_batches(lister *l, kp_point point)
{
    uint64_t share = l->batch / point.dp, fixed = l->request->graph->fixed_batch;
    for (uint64_t m = 1; m * m <= share; m++) {
        if (share % m) continue;
        const uint64_t sizes[] = {share / m, m};
        for (size_t i = 0; i < (sizes[0] == sizes[1] ? 1u : 2u); i++) {
            uint64_t size = sizes[i], count = share / size;
            if (size >= UINT32_MAX || count >= UINT32_MAX) continue;
            if (!takes((uint32_t)size, l->given.micro_batch) || (fixed && size != fixed)) continue;
            if (!KP_GROW(l->arena, l->points, l->n, l->cap)) return false;
            point.micro_batch = (uint32_t)size;
            point.micro_batches = (uint32_t)count;
            l->points[l->n++] = point;
        }
    }
    return true;
}

static bool list_pipelines(lister *l, uint32_t gpus, uint32_t tp, uint32_t max_stages)
{
    bool pipeline = kp_target_rows[l->request->training->target].pp;
    uint32_t rest = gpus / tp;
    for (uint32_t pp = 1; pp <= rest && pp <= max_stages; pp++) {
        if (rest % pp || !takes(pp, l->given.pp) || (pp > 1 && !pipeline)) continue;
        kp_point point = {.gpus = gpus, .dp = rest / pp, .tp = tp, .pp = pp};
        if (l->batch % point.dp || !takes(point.dp, l->given.dp)) continue;
        if (!list_micro_batches(l, point)) return false;
    }
    return true;
}

kp_status kp_space_make(const kp_search_request *request, uint32_t gpus, uint32_t max_stages,
                        kp_arena *arena, kp_space *ret, kp_err *err)
{
    lister l = {.request = request,
                .given = given_of(request->options),
                .batch = request->training->batch,
                .arena = arena};
    const kp_target_row *target = &kp_target_rows[request->training->target];
    for (uint32_t tp = 1; tp <= gpus; tp++) {
        if (gpus % tp || !takes(tp, l.given.tp) || (tp > 1 && !target->tp)) continue;
        if (!tp_in_nodes(request->cluster, gpus, tp)) continue;
        if (!list_pipelines(&l, gpus, tp, max_stages)) return kp_nomem(err);
    }
    const kp_options *o = request->options;
    bool attention = false;
    for (uint32_t i = 0; i < request->graph->n_ops; i++)
        attention = attention || request->graph->ops[i].op == KP_OP_ATTN_SCORES;
    uint8_t some = 1u << KP_RECOMPUTE_NONE | 1u << KP_RECOMPUTE_FULL;
    if (attention)
        some |= 1u << KP_RECOMPUTE_SELECTIVE; /* drops the scores: nothing without them */
    *ret = (kp_space){
        .points = l.points,
        .n_points = (uint32_t)l.n,
        .target = target,
        .recomputes = o->recompute == KP_RECOMPUTE_AUTO ? some : (uint8_t)(1u << o->recompute),
        .zero_given = o->zero <= 3 ? (uint8_t)o->zero : 4,
        .schedule = o->schedule == KP_SCHEDULE_AUTO ? KP_SCHEDULE_1F1B : o->schedule,
    };
    return KP_OK;
}

uint8_t kp_space_zeros(const kp_space *space, const kp_point *point)
{
    uint8_t zeros = point->pp > 1 ? space->target->zeros_pipeline : space->target->zeros;
    if (space->zero_given < 4) return zeros & (uint8_t)(1u << space->zero_given);
    return point->dp == 1 ? Z0 : zeros; /* one replica has nothing to share out */
}

kp_strategy kp_space_strategy(const kp_space *space, const kp_point *point, uint32_t zero,
                              kp_recompute recompute)
{
    return (kp_strategy){
        .dp = point->dp,
        .tp = point->tp,
        .pp = point->pp,
        .zero = zero,
        .micro_batch = point->micro_batch,
        .micro_batches = point->micro_batches,
        .schedule = space->schedule,
        .interleave = 1,
        .recompute = recompute,
    };
}

/* ---- no point ---- */

/* Least dp of any tp and pp that the GPUs and the hand-given degrees allow; 0 if there is none. */
static uint32_t least_dp(const kp_search_request *request, uint32_t gpus, uint32_t max_stages)
{
    given g = given_of(request->options);
    const kp_target_row *target = &kp_target_rows[request->training->target];
    uint32_t least = 0;
    for (uint32_t tp = 1; tp <= gpus; tp++) {
        if (gpus % tp || !takes(tp, g.tp) || (tp > 1 && !target->tp)) continue;
        if (!tp_in_nodes(request->cluster, gpus, tp)) continue;
        for (uint32_t pp = 1; pp <= gpus / tp && pp <= max_stages; pp++) {
            if (gpus / tp % pp || !takes(pp, g.pp) || (pp > 1 && !target->pp)) continue;
            uint32_t dp = gpus / tp / pp;
            if (takes(dp, g.dp) && (least == 0 || dp < least)) least = dp;
        }
    }
    return least;
}

kp_status kp_space_refuse(const kp_search_request *request, uint32_t gpus, uint32_t max_stages,
                          kp_err *err)
{
    given g = given_of(request->options);
    uint64_t batch = request->training->batch, fixed = request->graph->fixed_batch;
    uint32_t dp = least_dp(request, gpus, max_stages);
    if (g.tp > 1 && !tp_in_nodes(request->cluster, gpus, g.tp)) {
        kp_fail(err, KP_USAGE, "--tp %" PRIu32 " does not divide the GPUs of a node", g.tp);
        kp_hint(err, "tensor parallelism stays within a node");
    } else if (g.pp > max_stages) {
        kp_fail(err, KP_USAGE,
                "--pp %" PRIu32 " is more than the %" PRIu32
                " stages that the model can be cut into",
                g.pp, max_stages);
    } else if (dp == 0) {
        kp_fail(err, KP_USAGE, "no degrees multiply to %" PRIu32 " GPUs for target '%s'", gpus,
                kp_target_names[request->training->target]);
        kp_hint(err, "take other GPUs with --nodes and --gpus-per-node, or --target any");
    } else if (fixed && batch / dp % fixed == 0) {
        kp_fail(err, KP_USAGE,
                "the model fixes its batch to %" PRIu64 ", which no micro-batch of %" PRIu64
                " samples on %" PRIu32 " GPUs has",
                fixed, batch, gpus);
    } else if (batch % dp == 0 && gpus > 1) {
        kp_fail(err, KP_USAGE,
                "a batch of %" PRIu64 " cannot be divided over %" PRIu32
                " GPUs: tensor parallelism divides no layer of this model",
                batch, gpus);
        kp_hint(err, "--batch %" PRIu64 " can be divided so", kp_round_up(batch, gpus));
    } else {
        kp_fail(err, KP_USAGE,
                "a batch of %" PRIu64 " cannot be divided over %" PRIu32 " GPUs: at least %" PRIu32
                " replicas share it",
                batch, gpus, dp);
        uint64_t unit = kp_mul_u64(dp, g.micro_batch ? g.micro_batch : fixed ? fixed : 1);
        kp_hint(err, "--batch %" PRIu64 " can be divided so", kp_round_up(batch, unit));
    }
    return KP_USAGE;
}
