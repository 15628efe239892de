/* SPDX-License-Identifier: MIT */
#include "agent/verify/data.h"
#include <assert.h>

enum { VALUE_LIMIT = 8 };
static const uint64_t exact_limit = (uint64_t)1 << 24; /* integers up to here are exact floats */

/* SplitMix64's output function (Steele, Lea, Flood 2014) over a combination of both. */
uint64_t kp_data_mix(uint64_t a, uint64_t b)
{
    uint64_t z = a * 0x9e3779b97f4a7c15u + b + 0x7f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

kp_status kp_data_make(const kp_problem *problem, uint64_t seed, kp_data *ret, kp_err *err)
{
    uint64_t terms = kp_problem_terms(problem);
    if (terms >= exact_limit)
        return kp_fail(err, KP_UNSUPPORTED,
                       "sums of %llu terms cannot be exact in 32-bit floats (at most 16777215)",
                       (unsigned long long)terms);
    int32_t limit = VALUE_LIMIT;
    while (terms * (uint64_t)(limit * limit) >= exact_limit) limit--;
    assert(limit >= 1 && terms * (uint64_t)(limit * limit) < exact_limit);
    bool indices = problem->op == KP_OP_GATHER;
    *ret = (kp_data){.seed = seed,
                     .limit = limit,
                     .rows = indices ? (uint64_t)problem->w.dim[problem->w_rows] : 0};
    return KP_OK;
}

void kp_data_fill(const kp_data *data, kp_data_tensor tensor, kp_block block, void *ret)
{
    const kp_runs_of runs = kp_block_runs(block);
    const uint64_t stream = kp_data_mix(data->seed, tensor), span = 2 * (uint64_t)data->limit + 1;
    bool indices = tensor == KP_DATA_X && data->rows > 0;
    float *values = ret;
    int32_t *rows = ret;
    uint64_t at = 0;
    for (uint64_t row = 0; row < runs.rows; row++) {
        uint64_t index = row * runs.pitch + runs.offset;
        for (uint64_t i = 0; i < runs.width; i++, at++) {
            uint64_t mixed = kp_data_mix(stream, index + i);
            if (indices)
                rows[at] = (int32_t)(mixed % data->rows);
            else
                values[at] = (float)((int32_t)(mixed % span) - data->limit);
        }
    }
}
