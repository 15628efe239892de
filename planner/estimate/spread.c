/* SPDX-License-Identifier: MIT */
#include "planner/estimate/spread.h"
#include "planner/estimate/collectives.h"
#include "planner/estimate/profile.h"

#define BUCKET ((uint64_t)30 << 20)

kp_status kp_spread_bytes(const kp_graph *graph, const kp_training *training, const kp_part *part,
                          uint64_t schedules, kp_arena *arena, uint64_t *ret, kp_err *err)
{
    const kp_strategy *s = &part->strategy;
    kp_collective *list = NULL;
    uint32_t n = 0;
    *ret = 0;
    if (!kp_profile_of(training->framework)->xla || s->pp > 1 || (s->dp < 2 && s->tp < 2))
        return KP_OK;
    kp_arena_mark mark = kp_arena_tell(arena);
    kp_status status = kp_collectives_of(graph, training, part, arena, &list, &n, err);
    uint64_t most = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool gradients = list[i].what == KP_COLLECTIVE_GRADIENTS; /* a larger one is summed alone */
        most = kp_max_u64(most, gradients ? kp_min_u64(list[i].bytes, BUCKET) : list[i].bytes);
    }
    kp_arena_rewind(arena, mark);
    *ret = kp_add_u64(most, schedules);
    return status;
}
