/* SPDX-License-Identifier: MIT
 *
 * planner/model/oplan.h — a plan that comes with the model file: stages as runs of operations.
 *
 * Aceso's runtime (SuperScaler, a fork of Megatron-LM 2.4) reads the sizes of a GPT and its plan
 * from one file: how many operations each pipeline stage has, over how many ranks they are divided,
 * which of them are recomputed. It counts an embedding, 13 operations a layer, a norm and the loss;
 * here they are numbered over the graph's ops. Source: Liu et al., EuroSys 2024; SuperScaler,
 * runtime/megatron/model/flex_gpt.py, flex_model.py. Pure data. */
#ifndef KP_PLANNER_MODEL_OPLAN_H
#define KP_PLANNER_MODEL_OPLAN_H

#include "planner/model/graph.h"

typedef struct kp_oplan_stage {
    uint32_t n_ops;
    uint32_t tp, dp;      /* the same for all of its operations */
    const uint8_t *again; /* of each operation: recomputed; NULL: none */
} kp_oplan_stage;

typedef struct kp_oplan {
    const kp_oplan_stage *stages;
    uint32_t n_stages, n_ops; /* n_ops: of all stages */
    uint32_t micro_batch;     /* samples, over the dp ranks of a stage */
    uint64_t batch;           /* samples an update; 0: not said */
} kp_oplan;

/* The graph op that each operation of the plan begins with, and behind them the number of graph
 * ops: n_ops + 1. Scores and their softmax, two operations there, are one op here and begin alike.
 * Fails with KP_INPUT (the model has another number of operations), KP_NOMEM. */
kp_status kp_oplan_starts(const kp_graph *graph, kp_arena *arena, const uint32_t **ret,
                          kp_err *err);

/* Where the run of recomputed ops that each graph op is in ends, 0: it is not recomputed: n_ops of
 * the graph. Runs end with a stage and before the first norm of a layer. */
kp_status kp_oplan_segments(const kp_graph *graph, const uint32_t *starts, kp_arena *arena,
                            const uint32_t **ret, kp_err *err);

#endif
