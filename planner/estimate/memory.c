/* SPDX-License-Identifier: MIT */
#include "planner/estimate/memory.h"
#include "planner/estimate/memory_parts.h"
#include "planner/estimate/outside.h"
#include "planner/estimate/packing.h"
#include "planner/estimate/reserve.h"
#include "planner/estimate/taping.h"

/* Of what lives through the step: tensors are rounded up to 512 bytes, flat shards to the group;
 * published profiles of FSDP hold up to 3 % beside their shards (Hetu-Galvatron). */
#define STEADY_WASTE  .01
#define SHARDED_WASTE .03
/* Batches of several micro-batches that are still held: up to 16 MiB in published runs. */
#define MEGATRON_WASTE .02
/* Scalars, statistics of rows and tables of pointers of a compiled step: mostly less than this. */
#define XLA_SCALARS 4096
/* Where nearly all is state: rounding, index copies of poolings, which a share of the rest misses.
 */
#define XLA_LEAST .001
/* Of what TensorFlow asks for: its allocator's chunks are 1.2 to 1.6 % larger over recorded steps,
 * so its replay may err by that much. */
#define BFC_APART .02
/* Of what a forward pass keeps: frameworks' published profiles lie within it. */
#define KEPT_LOW  .05
#define KEPT_HIGH .09

/* ---- the replay ---- */

typedef struct replay {
    const kp_tape *tape;
    kp_categories now, peak;
    uint64_t total, peak_total, phase[KP_PHASE_COUNT];
    uint64_t holes; /* lost around the workspace of products */
    uint32_t peak_event, peak_step;
    uint64_t loaded, forwarded;                /* alive when the pass begins, and when it ends */
    uint64_t states;                           /* weights, gradients and slots before the update */
    uint64_t borders, routed, inputs, updates; /* beside them */
} replay;

static void run_event(replay *r, uint32_t event, uint32_t step)
{
    const kp_tape_event *e = &r->tape->events[event];
    const kp_tape_buffer *b = &r->tape->buffers[e->buffer];
    uint64_t *phase = &r->phase[r->tape->steps[step].phase];
    if (!e->alloc) {
        r->now.bytes[b->category] -= b->bytes;
        r->total -= b->bytes;
        return;
    }
    r->now.bytes[b->category] += b->bytes;
    r->total += b->bytes;
    if (r->tape->steps[step].phase == KP_PHASE_OPTIMIZER) r->updates += b->bytes;
    *phase = kp_max_u64(*phase, r->total);
    if (r->total <= r->peak_total) return;
    r->peak_total = r->total;
    r->peak = r->now;
    r->peak_event = event;
    r->peak_step = step;
}

/* What is alive between two phases. */
static void mark(replay *r, kp_phase from, kp_phase to)
{
    if (from == to) return;
    if (from == KP_PHASE_LOAD) r->loaded = r->total;
    if (from == KP_PHASE_FORWARD) r->forwarded = r->total;
    if (to == KP_PHASE_OPTIMIZER) {
        const uint64_t *now = r->now.bytes;
        r->states = now[KP_CAT_WEIGHTS] + now[KP_CAT_GRADIENTS] + now[KP_CAT_OPTIMIZER];
        r->borders = now[KP_CAT_COMMUNICATION];
        r->routed = now[KP_CAT_TEMPORARY];
        r->inputs = now[KP_CAT_INPUTS];
    }
}

static void run(replay *r)
{
    for (uint32_t i = 0; i < r->tape->n_steps; i++) {
        const kp_tape_step *s = &r->tape->steps[i];
        r->phase[s->phase] = kp_max_u64(r->phase[s->phase], r->total);
        mark(r, i ? r->tape->steps[i - 1].phase : KP_PHASE_LOAD, s->phase);
        for (uint32_t e = s->first_event; e < s->first_event + s->n_events; e++) run_event(r, e, i);
    }
}

/* ---- what is alive at the peak ---- */

typedef struct alive_buffer {
    uint64_t bytes;
    uint32_t id;
} alive_buffer;

static int larger_first(const void *x, const void *y)
{
    const alive_buffer *a = x, *b = y;
    if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static kp_status find_live(const replay *r, kp_arena *arena, kp_memory *ret, kp_err *err)
{
    const kp_tape *tape = r->tape;
    bool *alive = KP_NEW(arena, bool, tape->n_buffers);
    alive_buffer *list = KP_NEW(arena, alive_buffer, tape->n_buffers);
    uint32_t *live = KP_NEW(arena, uint32_t, tape->n_buffers), n = 0;
    if (!alive || !list || !live) return kp_nomem(err);
    for (uint32_t e = 0; e <= r->peak_event && e < tape->n_events; e++)
        alive[tape->events[e].buffer] = tape->events[e].alloc;
    for (uint32_t i = 0; i < tape->n_buffers; i++)
        if (alive[i] && tape->buffers[i].bytes)
            list[n++] = (alive_buffer){tape->buffers[i].bytes, i};
    qsort(list, n, sizeof(*list), larger_first);
    for (uint32_t i = 0; i < n; i++) live[i] = list[i].id;
    ret->live = live;
    ret->n_live = n;
    return KP_OK;
}

/* ---- bounds ---- */

static uint64_t times(uint64_t bytes, double factor)
{
    return (uint64_t)((double)bytes * factor);
}

/* State and inputs are arithmetic; the rest of the tape is a model with an error, the constants
 * have ranges of their own. What the allocator keeps for other streams (apart) hardly depends on
 * the order of requests. */
static void bounds(const replay *r, const kp_profile *p, const kp_outside *o, uint64_t apart,
                   kp_memory *m)
{
    uint64_t waste = m->reserved.bytes - m->allocated.bytes;
    const uint64_t *b = r->peak.bytes;
    uint64_t exact = r->holes + b[KP_CAT_WEIGHTS] + b[KP_CAT_OPTIMIZER] + b[KP_CAT_INPUTS];
    uint64_t rest = r->peak_total + r->holes - exact;
    kp_tape_error error = kp_profile_error(p, r->tape->graph);
    uint64_t low = exact + times(rest, 1 - error.low), high = exact + times(rest, 1 + error.high);
    if (p->xla) { /* programs have no stages */
        bool one = r->tape->part.strategy.pp == 1;
        uint64_t arena = XLA_SCALARS + (one ? times(r->peak_total, XLA_LEAST) : 0);
        low -= kp_min_u64(arena, low);
        high += arena + r->tape->spread_bytes;
    }
    uint64_t rounded = m->allocated.bytes - r->peak_total - r->holes - o->inside; /* blocks */
    m->allocated.low = low + o->inside_low + rounded;
    m->allocated.high = high + o->inside_high + rounded;
    uint64_t least = p->caching ? waste / 2 : times(low, p->waste_low),
             largest = times(high, p->waste_high) + p->waste_bytes;
    if (p->caching) largest = kp_min_u64(waste + waste / 2, largest);
    uint64_t sure = kp_min_u64(apart, waste) / 2;
    least += p->caching ? sure : 0;
    if (p->caching && sure) largest = waste + (waste / 2 - sure);
    m->reserved.low = m->allocated.low + least;
    m->reserved.high = m->allocated.high + largest;
    m->low_bytes = low + rounded + least + kp_categories_sum(&o->low);
    m->high_bytes = high + rounded + largest + kp_categories_sum(&o->high);
}

/* Megatron's stages hold what they received until the next step, and without virtual stages the
 * last micro-batch too; so do dispatchers of experts with theirs. */
static uint64_t held(const replay *r, const kp_training *training)
{
    const kp_strategy *s = &r->tape->part.strategy;
    if (training->framework != KP_FW_MEGATRON) return 0;
    uint64_t bytes = r->borders + r->routed + r->updates;
    return s->pp > 1 && s->interleave < 2 ? bytes + r->inputs : bytes;
}

/* States are arithmetic, but for what the allocator rounds; workspaces are made at first use. */
static void between(const replay *r, const kp_training *training, const kp_outside *o, kp_memory *m)
{
    uint64_t steady = r->states + o->inside + held(r, training), kept = r->forwarded - r->loaded;
    bool megatron = training->framework == KP_FW_MEGATRON && training->launch.n_blocks;
    bool sharded = !megatron && r->tape->part.strategy.zero == 3;
    uint64_t low = r->states, high = steady + times(steady, sharded ? SHARDED_WASTE : STEADY_WASTE);
    if (megatron) { /* after an update of Megatron's, so workspaces are there */
        low = steady - times(steady, STEADY_WASTE) - (o->inside - o->inside_low);
        high += times(steady, MEGATRON_WASTE) + (o->inside_high - o->inside);
    }
    m->steady = (kp_bounded){steady, low, high};
    m->kept = (kp_bounded){kept, kept - times(kept, KEPT_LOW), kept + times(kept, KEPT_HIGH)};
}

/* What the framework's allocator holds beyond the tape: a share, or what its replay says. */
static void finish(const replay *r, const kp_outside *o, const kp_replayed *held, kp_memory *m)
{
    uint64_t asked = r->peak_total + r->holes + o->inside;
    m->allocated.bytes = kp_max_u64(held->allocated_bytes, asked);
    m->reserved.bytes = kp_max_u64(held->reserved_bytes, m->allocated.bytes);
    m->peak = r->peak;
    for (int c = 0; c < KP_CAT_COUNT; c++) m->peak.bytes[c] += o->bytes.bytes[c];
    m->peak.bytes[KP_CAT_FRAGMENTATION] += m->reserved.bytes - r->peak_total - o->inside;
    uint64_t constants = kp_categories_sum(&m->peak) - r->peak_total - r->holes;
    for (int i = 0; i < KP_PHASE_COUNT; i++) {
        m->phase_bytes[i] = r->phase[i] + constants;
        m->phase_allocated_bytes[i] = r->phase[i] + o->inside;
    }
    const kp_tape_step *s = &r->tape->steps[r->peak_step];
    m->phase_bytes[s->phase] += r->holes;
    m->phase_allocated_bytes[s->phase] += r->holes;
    m->phase = s->phase;
    m->op = s->op;
    m->layer = s->op == KP_NO ? KP_NO : r->tape->graph->ops[s->op].layer;
}

/* ---- the allocator ---- */

typedef struct holder {
    const kp_tape *tape;
    const kp_profile *profile;
    const kp_outside *outside;
    bool benchmark;  /* cudnn.benchmark */
    bool expandable; /* segments of torch's allocator */
    bool bfc;        /* TensorFlow's allocator */
    uint64_t usable_bytes;
    kp_arena *arena;
    kp_err *err;
} holder;

/* What the framework's allocator holds if all but state is `stretch` times as large and what
 * stands outside it takes `outside`. */
static kp_status hold(const holder *h, double stretch, const kp_categories *outside,
                      kp_replayed *ret)
{
    uint64_t beside = kp_categories_sum(outside) - h->outside->inside;
    kp_reserve_ask ask = {.stretch = stretch,
                          .capacity_bytes = kp_sub_u64(h->usable_bytes, beside),
                          .space_bytes = h->outside->inside,
                          .space_count = h->profile->space_count,
                          .expandable = h->expandable,
                          .empties = h->benchmark};
    return kp_reserve_replay(h->tape, &ask, h->arena, ret, h->err);
}

/* The expected: on this card if that works, else on one without a limit. Where the card has not
 * half of what is asked for, the share that published runs hold stands for the replay. */
static kp_status hold_expected(const holder *h, uint64_t asked, kp_replayed *ret)
{
    *ret = (kp_replayed){.allocated_bytes = asked,
                         .reserved_bytes = asked + times(asked, h->profile->waste)};
    if (h->bfc) {
        kp_replayed got;
        KP_TRY(kp_reserve_replay_tf(h->tape, h->arena, &got, h->err));
        ret->reserved_bytes = asked + (got.reserved_bytes - got.allocated_bytes);
    }
    if (!h->profile->caching || asked / 2 > h->usable_bytes) return KP_OK;
    uint64_t beside = kp_categories_sum(&h->outside->bytes) - h->outside->inside;
    bool hopeless = kp_add_u64(asked, beside) > h->usable_bytes;
    if (!hopeless) KP_TRY(hold(h, 1, &h->outside->bytes, ret));
    holder free = *h;
    free.usable_bytes = UINT64_MAX;
    return hopeless || ret->failed_bytes ? hold(&free, 1, &h->outside->bytes, ret) : KP_OK;
}

/* Where the card lies inside the bounds: the allocator gives free segments back before it fails,
 * so it fits if the high bound's replay on this card succeeds, and not if the low one's fails for
 * want of bytes: what only lies in the wrong places (more than published runs usually lose) may lie
 * elsewhere in the real program. */
static kp_status sharpen(const holder *h, kp_memory *m)
{
    const kp_profile *p = h->profile;
    kp_tape_error error = kp_profile_error(p, h->tape->graph);
    uint64_t peak = kp_categories_sum(&m->peak);
    kp_replayed got;
    if (!p->caching || m->low_bytes > h->usable_bytes || m->high_bytes <= h->usable_bytes)
        return KP_OK;
    if (peak <= h->usable_bytes) {
        kp_categories high = h->outside->high;
        high.bytes[KP_CAT_WORKSPACE] -= h->outside->spare;
        KP_TRY(hold(h, 1 + error.high, &high, &got));
        if (!got.failed_bytes) m->high_bytes = h->usable_bytes;
    } else {
        uint64_t asked =
            m->allocated.low + kp_categories_sum(&h->outside->low) - h->outside->inside_low;
        if (asked + times(asked, p->waste) <= h->usable_bytes) return KP_OK;
        KP_TRY(hold(h, 1 - error.low, &h->outside->low, &got));
        if (got.failed_bytes) m->low_bytes = h->usable_bytes + 1;
    }
    return KP_OK;
}

static kp_status measure(const kp_tape *tape, const kp_training *training, const kp_device *device,
                         bool live, kp_arena *arena, kp_memory *ret, kp_err *err)
{
    const kp_profile *p = kp_profile_for(training);
    replay r = {.tape = tape};
    kp_memory m = {0};
    run(&r);
    if (p->xla && tape->part.strategy.pp == 1) /* XLA programs have no stages */
        KP_TRY(kp_packing_holes(tape, r.peak_total, arena, &r.holes, err));
    kp_outside o = kp_outside_of(tape, training, device);
    holder h = {.tape = tape,
                .profile = p,
                .outside = &o,
                .benchmark = training->cudnn_benchmark,
                .expandable = training->launch.expandable,
                .bfc = training->framework == KP_FW_KERAS_TF_GRAPH,
                .usable_bytes = device->usable_bytes,
                .arena = arena,
                .err = err};
    kp_replayed got;
    KP_TRY(hold_expected(&h, r.peak_total + r.holes + o.inside, &got));
    finish(&r, &o, &got, &m);
    between(&r, training, &o, &m);
    bounds(&r, p, &o, got.apart_bytes, &m);
    if (h.bfc)
        m.reserved.high = kp_min_u64(m.reserved.high, m.allocated.high + got.reserved_bytes -
                                                          got.allocated_bytes +
                                                          times(m.allocated.bytes, BFC_APART));
    KP_TRY(sharpen(&h, &m));
    uint64_t peak = kp_categories_sum(&m.peak);
    m.low_bytes = kp_min_u64(m.low_bytes, peak);
    m.high_bytes = kp_max_u64(m.high_bytes, peak);
    m.reserved.low = kp_min_u64(m.reserved.low, m.reserved.bytes);
    m.reserved.high = kp_max_u64(m.reserved.high, m.reserved.bytes);
    if (live) KP_TRY(find_live(&r, arena, &m, err));
    if (!tape->part.sums) KP_TRY(kp_memory_layers(tape, training, arena, &m, err));
    kp_memory_host(tape, training, &m);
    *ret = m;
    return KP_OK;
}

kp_status kp_memory_replay(const kp_tape *tape, const kp_training *training,
                           const kp_device *device, kp_arena *arena, kp_memory *ret, kp_err *err)
{
    return measure(tape, training, device, true, arena, ret, err);
}

kp_status kp_memory_of(const kp_graph *graph, const kp_training *training, const kp_part *part,
                       const kp_device *device, kp_arena *arena, kp_memory *ret, kp_err *err)
{
    kp_tape tape;
    KP_TRY(kp_tape_make(graph, training, part, arena, &tape, err));
    return measure(&tape, training, device, false, arena, ret, err);
}

kp_verdict_fit kp_memory_fit(const kp_memory *memory, uint64_t usable_bytes)
{
    if (memory->high_bytes <= usable_bytes) return KP_FIT_FITS;
    return memory->low_bytes > usable_bytes ? KP_FIT_NO : KP_FIT_TIGHT;
}
