/* SPDX-License-Identifier: MIT
 *
 * planner/plan/message_match.h — tensors of a model that a message may mean. Internal to the room.
 *
 * A candidate is a tensor that a step of the model could allocate: what an op writes, a padded or
 * spread input of a convolution, a gate of a recurrent cell, a weight with its gradient and slots.
 * An ask's shape is factored over it: which batch would make it so, in which order of axes, with
 * what folded into the first. The best-founded matches stay. */
#ifndef KP_PLANNER_PLAN_MESSAGE_MATCH_H
#define KP_PLANNER_PLAN_MESSAGE_MATCH_H

#include "planner/plan/explain_parts.h"
#include "planner/plan/oom_text.h"

typedef enum kp_shaped_kind {
    KP_SHAPED_OUTPUT,
    KP_SHAPED_INPUT,
    KP_SHAPED_PADDED, /* a convolution's input with its zeros */
    KP_SHAPED_SPREAD, /* a dilated convolution's input, cut into the batch (SpaceToBatch) */
    KP_SHAPED_CELL,   /* inside a recurrent layer */
    KP_SHAPED_WEIGHT,
    KP_SHAPED_ALL, /* all parameters together */
    KP_SHAPED_PROGRAM,
} kp_shaped_kind;

typedef struct kp_shaped {
    kp_shaped_kind kind;
    uint32_t layer, op; /* KP_NO where none */
    const char *what;
    kp_shape shape; /* per-sample dimensions marked; of a weight: whole */
    kp_dtype dtype;
} kp_shaped;

/* How a printed shape is a candidate's. */
typedef enum kp_factor_how {
    KP_FACTOR_SAME,
    KP_FACTOR_CHANNELS, /* channels moved from last to first, or back */
    KP_FACTOR_FOLDED,   /* further axes in the first one */
    KP_FACTOR_ORDER,    /* the same sizes in another order */
    KP_FACTOR_FOLDED_ORDER,
    KP_FACTOR_SQUEEZED, /* a batch of 1 is not printed */
    KP_FACTOR_COUNT
} kp_factor_how;

typedef struct kp_factored {
    kp_factor_how how;
    uint64_t batch;  /* 0: the candidate has none */
    uint64_t folded; /* product of what stands in the first axis beside the batch; >= 1 */
} kp_factored;

/* Factors a printed shape over a candidate's; false: it is not. */
bool kp_factor_shape(const kp_shape *shape, unsigned rank, const int64_t *dim, kp_factored *ret);

typedef struct kp_match {
    kp_shaped of;
    kp_factored by;
    uint32_t element_bytes; /* where the ask was in bytes; else 0 */
    uint32_t shares;        /* of all parameters: divided by so many, >= 1 */
    uint64_t bytes;
    unsigned score; /* smaller is better founded */
    unsigned order; /* of equals, the earlier */
    bool named;     /* the message names the layer */
} kp_match;

enum { KP_MATCHES_MAX = 16 };

typedef struct kp_matching {
    const kp_explaining *e;
    const kp_look *look;
    const kp_oom_ask *ask;
    kp_match best[KP_MATCHES_MAX];
    unsigned n, found; /* found: also those that were dropped */
    unsigned order;
    uint64_t batch; /* samples of a rank at once, as this explanation has them */
    bool given;     /* by the user */
} kp_matching;

/* Calls `consider` with each candidate in the order of the graph, then the weights. */
void kp_shaped_each(const kp_look *look, void (*consider)(kp_matching *m, const kp_shaped *of),
                    kp_matching *m);

/* Fills best, the best first. */
void kp_match_shape(kp_matching *m);
void kp_match_bytes(kp_matching *m);
void kp_match_count(kp_matching *m);

/* What a compiled step is given, and does not ask for itself: weights, slots, the batch. */
uint64_t kp_match_arguments(const kp_memory *memory);

/* Keeps a match among the best. */
void kp_match_keep(kp_matching *m, const kp_match *match);

/* True if the message names the layer as what asked. */
bool kp_match_names(const kp_oom_ask *ask, const kp_layer *layer);

/* Of what a step allocates, the machine's memory holds inputs, labels (as large as the outputs; so
 * they are called then) and weights. */
bool kp_match_on_host(const kp_matching *m, kp_shaped *of);

/* What kind of work asked, by the operation's name; KP_PHASE_COUNT: not said. */
kp_phase kp_match_phase(const kp_matching *m, const kp_match *match);

/* True if so large a batch is rather one of evaluation or prediction. */
bool kp_match_evaluates(const kp_matching *m, const kp_match *match);

/* What a match proves, in words. */
void kp_match_say(const kp_matching *m, const kp_match *match, kp_buf *out);

#endif
