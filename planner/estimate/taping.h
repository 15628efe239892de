/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/taping.h — a tape while it is written. Internal to the room.
 *
 * Buffers are counted: a buffer is freed when its last holder drops it. The first failure sticks
 * (status), so writers append freely and kp_tape_make checks once. */
#ifndef KP_PLANNER_ESTIMATE_TAPING_H
#define KP_PLANNER_ESTIMATE_TAPING_H

#include "planner/estimate/keep.h"

/* What can stand in front of a weight's name. */
typedef enum kp_weight_text {
    KP_TEXT_PLAIN,
    KP_TEXT_COPY,
    KP_TEXT_SLOT_1,
    KP_TEXT_SLOT_2,
    KP_TEXT_SLOT_3,
    KP_TEXT_SLOT_4,
    KP_TEXT_SLOT_5,
    KP_TEXT_SLOT_6,
    KP_TEXT_MASTER,
    KP_TEXT_ACCUMULATED,
    KP_TEXT_GRADIENT,
    KP_TEXT_UPDATE,
    KP_TEXT_DECAYED,
    KP_TEXT_GATHERED,
    KP_TEXT_COUNT
} kp_weight_text;

/* A gradient that flows to a value: one list a root. */
typedef struct kp_flow {
    uint32_t buffer, next;
} kp_flow;

typedef struct kp_taping {
    const kp_graph *graph;
    const kp_training *training;
    const kp_part *part;
    const kp_profile *profile;
    kp_arena *arena;
    kp_err *err;
    kp_status status;
    kp_sizes sizes;
    kp_keep keep;
    kp_tape_buffer *buffers;
    uint32_t *refs; /* holders of each buffer */
    kp_tape_event *events;
    kp_tape_step *steps;
    uint32_t n_buffers, n_events, n_steps;
    size_t cap_buffers, cap_refs, cap_events, cap_steps;
    uint32_t *stored;     /* buffer of each value; KP_NO: not in memory */
    uint32_t *first_flow; /* of each root; KP_NO: none */
    kp_flow *flows;
    uint32_t n_flows;
    size_t cap_flows;
    uint32_t *extra_stored; /* buffer of each extra; KP_NO: not in memory */
    uint32_t *ending;       /* of each op: first value whose last forward reader it is; KP_NO */
    uint32_t *next_ending;  /* of each value */
    uint32_t *weight_grad;  /* buffer of each weight's gradient that outlives its op; KP_NO */
    uint32_t *weight_copy;  /* buffer of each weight's copy in the compute type; KP_NO */
    uint32_t *copied;       /* the copy for which the weight itself stands idle; KP_NO */
    uint32_t *unit_grad; /* buffer of each weight's whole gradient until its unit is done; KP_NO */
    uint32_t *unit;      /* of each layer: the unit that it is gathered with; NULL: none */
    uint32_t *gathered;  /* buffer of each unit's gathered weights, by its layer; KP_NO */
    uint32_t *uses,
        *left; /* ops of the part that read each weight; of those, backward still to do */
    uint32_t updating[2]; /* gradient and scratch of the weight whose update runs; KP_NO */
    uint32_t *waiting, *waiting_key; /* ops whose weight gradients wait, and their gradients */
    uint32_t n_waiting;
    uint32_t *others; /* buffers of the other micro-batches in flight */
    uint32_t n_others;
    size_t cap_others;
    uint32_t *border, *next_border; /* of each op: values kept for its segment's recomputation */
    uint32_t *owner, *own_needs;    /* of each value: the op of the segment that recomputes it;
                                       backward    passes of that segment that read it */
    bool again;                     /* the backward pass with recomputed segments has begun */
    const uint32_t *segment;        /* of each op: where its recomputed segment ends; NULL: none */
    const bool *plain;              /* ops that are segments of their own and not recomputed */
    const bool *crosses;            /* values that are held until their own segment's turn */
    bool *here;                     /* weights of this part */
    uint32_t first_early, n_early;  /* buffers of updates that begin with the step */
    bool listed;                    /* a stage of a plan in the file: Aceso's runtime */
    bool together;                  /* all gradients live until the update */
    uint32_t whole;                 /* FSDP's whole units; KP_NO: none */
    uint32_t *given;                /* of each output: the gradient that the caller gives; NULL: the
                                             loss makes them */
    struct kp_program_run **runs;   /* of each op with a program that runs; NULL where none */
    bool late;          /* weight gradients wait until all others are done (XLA may do so) */
    const char **names; /* of each weight: the last part of its path */
    uint32_t *name_ids; /* weights of one name have the id of the first */
    const char *
        *texts[KP_TEXT_COUNT]; /* of each name id: with the prefix in front; NULL: not yet */
    uint64_t all_bytes;        /* of all buffers ever: sums of them cannot overflow */
} kp_taping;

/* Begins a step. */
void kp_taping_step(kp_taping *t, kp_phase phase, uint32_t op);

/* What a buffer is; layer and op KP_NO where none. */
typedef struct kp_taping_new {
    kp_category category;
    uint32_t layer, op;
    const char *what;
    const kp_shape *shape; /* NULL: plain bytes */
    kp_dtype dtype;
    uint64_t bytes;
} kp_taping_new;

/* A new buffer with `holders` holders, alive from this step on; KP_NO after a failure or if it has
 * no bytes. An allocation after a free begins a further step of the same op. */
uint32_t kp_taping_take(kp_taping *t, const kp_taping_new *buffer, uint32_t holders);
void kp_taping_hold(kp_taping *t, uint32_t buffer, uint32_t more);
void kp_taping_drop(kp_taping *t, uint32_t buffer);

/* A buffer for a weight: what = "gradient of kernel" and the like. */
uint32_t kp_taping_weight(kp_taping *t, uint32_t weight, kp_category category, kp_weight_text text,
                          kp_dtype dtype, uint64_t bytes, uint32_t holders);
/* Prepares those texts. */
kp_status kp_taping_names(kp_taping *t);

/* True once something failed. */
bool kp_taping_failed(const kp_taping *t);

/* One schedule of kp_tape_make's; late: XLA's other one, all weight gradients after all others. */
kp_status kp_tape_run(const kp_graph *graph, const kp_training *training, const kp_part *part,
                      bool late, kp_arena *arena, kp_tape *ret, kp_err *err);

/* The parts of a tape, in this order. */
void kp_tape_state(kp_taping *t);    /* LOAD: weights, slots, accumulators, the batch */
void kp_tape_forward(kp_taping *t);  /* kept and other values */
void kp_tape_backward(kp_taping *t); /* gradients; frees what was kept */
void kp_tape_update(kp_taping *t);   /* the optimizer */
void kp_tape_eval(kp_taping *t);     /* the forward pass alone */
void kp_tape_idle(kp_taping *t);     /* temporaries in idle weights' buffers have no bytes (XLA) */

/* Segments, what they are made of and what crosses their borders. */
kp_status kp_tape_segments(kp_taping *t);
/* True if the op's forward pass runs again before its backward pass. */
bool kp_tape_recomputed(const kp_taping *t, uint32_t op);

/* True if what is sent to the next stage is held until its gradient comes: pipelines of torch and
 * Aceso's runtime; Megatron frees it (deallocate_pipeline_outputs). */
bool kp_tape_holds_sent(const kp_taping *t);
/* True if the mask of a dropout stays although it is recomputed: Aceso runs the sum behind it with
 * autograd on, and its result leaves the run beside the run's own outputs. */
bool kp_tape_leaks(const kp_taping *t, uint32_t op);

/* Modules that FSDP wraps one by one (tape_wrapped.c): weights gathered and gradients held unit by
 * unit. Before and after an op's pass; a weight's gradient. */
bool kp_tape_has_units(const kp_taping *t);
kp_status kp_tape_units(kp_taping *t);
void kp_tape_unit_forward(kp_taping *t, uint32_t op);
void kp_tape_unit_forward_end(kp_taping *t, uint32_t op);
void kp_tape_unit_backward(kp_taping *t, uint32_t op);
void kp_tape_unit_backward_end(kp_taping *t, uint32_t op);
void kp_tape_unit_gradient(kp_taping *t, uint32_t weight);

/* Ops with a program (tape_program.c): forward, backward, and what retained graphs still hold. */
void kp_tape_program_forward(kp_taping *t, uint32_t op, bool training);
void kp_tape_program_backward(kp_taping *t, uint32_t op);
void kp_tape_programs_end(kp_taping *t);
/* The given gradient of an output flows to it; false: none is given. */
bool kp_tape_given(kp_taping *t, uint32_t output, uint32_t root);

/* Gradients that flow: one more to a root, all of them as one buffer, a new one; one holder less of
 * what an op's backward pass reads. */
void kp_tape_flow_to(kp_taping *t, uint32_t root, uint32_t buffer);
uint32_t kp_tape_gather(kp_taping *t, uint32_t root, uint32_t op);
uint32_t kp_tape_take_gradient(kp_taping *t, uint32_t tensor, uint32_t op, const char *what,
                               kp_dtype dtype, uint32_t holders);
void kp_tape_drop_needs(kp_taping *t, uint32_t op, bool own_output, bool others);
/* True if the backward pass needs the gradient of this tensor. */
bool kp_tape_wanted(const kp_taping *t, uint32_t tensor);
/* The key becomes the gradient of every input that wants one; its holder ends. */
void kp_tape_hand_on(kp_taping *t, const kp_graph_op *o, uint32_t key);
/* A new gradient flows to each input that wants one. */
void kp_tape_input_gradients(kp_taping *t, uint32_t op);
/* What an op's backward pass takes besides values and gradients: allocated when `when` says, and
 * freed; kept_only: only what the forward pass left for it. */
void kp_tape_take_extras(kp_taping *t, uint32_t op, kp_extra_when when);
void kp_tape_drop_extras(kp_taping *t, uint32_t op, bool kept_only);
/* One op's backward pass under XLA; key: the gradient of its outputs, whose holder ends, or KP_NO
 * where it is fused. */
void kp_tape_backward_xla(kp_taping *t, uint32_t op, uint32_t key);
/* A value comes into memory (tape_forward.c); made: the buffer that holds it already, or NULL. */
void kp_tape_take_value(kp_taping *t, uint32_t value, uint32_t owner, const char *what,
                        bool training, bool crosses, const uint32_t *made);

/* One op's forward pass; training: what its backward pass reads stays. */
void kp_tape_forward_op(kp_taping *t, uint32_t op, bool training);
/* The workspace of a product that runs; KP_NO if the op is none. */
uint32_t kp_tape_product_space(kp_taping *t, uint32_t op);
/* The same for a moment, where the op is a convolution whose kernel has a LoRA product added: once
 * its own gradients are there, theirs are two small products. */
void kp_tape_low_rank(kp_taping *t, uint32_t op);
/* One holder less of a value: the op that has read it. */
void kp_tape_drop_value(kp_taping *t, uint32_t value, uint32_t op);
/* The weight's update that runs beside the backward pass has ended. */
void kp_tape_end_update(kp_taping *t);
/* The step that follows once a weight's gradient is there. */
void kp_tape_weight_grads(kp_taping *t, uint32_t op);
/* The same for a gradient that a program computed, whose holder it takes over; and for that of
 * input `which` of an op, which flows on. */
void kp_tape_weight_given(kp_taping *t, uint32_t weight, uint32_t buffer);
void kp_tape_input_given(kp_taping *t, uint32_t op, uint32_t which, uint32_t buffer);
/* The same buffer for the other micro-batches in flight: they stay until the step's end. */
void kp_tape_other_copies(kp_taping *t, kp_taping_new buffer);

/* True if the kernel of this op is copied (transposed, or to the compute type) while the step runs.
 */
bool kp_taping_copies(const kp_taping *t, const kp_graph_op *op, uint32_t weight,
                      kp_dtype *ret_dtype);
/* True if torch's FSDP gathers weights in units, in the type that is computed in. */
bool kp_taping_fsdp(const kp_taping *t);
/* Units of FSDP (tape_units.c): what is whole of them from here on, and until the update. */
void kp_tape_gather_units(kp_taping *t);
void kp_tape_drop_units(kp_taping *t);
/* torchtitan's runs (tape_titan.c): whether this is one; values that its checkpointing saves; what
 * fully_shard gathers; a weight's gradient; the loss's gradients flow to the outputs. */
bool kp_tape_titan(const kp_taping *t);
kp_status kp_tape_titan_save(kp_taping *t, bool *saved);
void kp_tape_titan_gather(kp_taping *t);
void kp_tape_titan_gradient(kp_taping *t, uint32_t weight);
void kp_tape_titan_loss(kp_taping *t);
/* True if two layers (KP_NO: none) are of one block; if a layer stands in a block. */
bool kp_tape_same_block(const kp_graph *graph, uint32_t layer, uint32_t other);
bool kp_tape_in_block(const kp_graph *graph, uint32_t layer);
/* Where the run of ops of each op's block ends, which is recomputed together; 0: of no block. NULL:
 * the model has no blocks, or a failure. */
uint32_t *kp_tape_blocks(kp_taping *t);
/* dp, if ZeRO of at least `level` divides; else 1. */
uint32_t kp_taping_shards(const kp_taping *t, uint32_t level);
/* The same for what belongs to a weight: experts' weights have fewer copies. */
uint32_t kp_taping_weight_shards(const kp_taping *t, uint32_t level, uint32_t weight);
/* True under Megatron: it sums gradients in a buffer that is there from the start. */
bool kp_taping_is_megatron(const kp_taping *t);

/* Bytes of a weight's gradient as it is computed, and of this rank's share of it where ZeRO
 * divides. */
uint64_t kp_taping_grad_bytes(const kp_taping *t, uint32_t weight, kp_dtype *ret_dtype);
/* True if the weight is of an embedding or a head that tensor parallelism leaves whole: its ranks
 * then are data parallel ones (launch.ends_apart). */
bool kp_taping_apart(const kp_taping *t, uint32_t weight);
/* The type that a weight's layer computes in. */
kp_dtype kp_taping_compute(const kp_taping *t, uint32_t weight);
/* True if gradients are added to buffers that are there already: over several micro-batches, or
 * over steps that start with zeros. */
bool kp_taping_accumulates(const kp_taping *t);

#endif
