/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/bind.c — options to what the model reader binds. */
#include "planner/estimate/training.h"
#include <inttypes.h>

static const char *const policies[] = {"float32",  "mixed_bfloat16", "mixed_float16",
                                       "bfloat16", "float16",        "float64"};

kp_status kp_training_bind(const kp_options *options, kp_arena *arena, kp_bind *ret, kp_err *err)
{
    kp_bind bind = {.n_dims = options->n_dims, .layers_spec = options->layers_spec};
    kp_bind_dim *dims = KP_NEW(arena, kp_bind_dim, options->n_dims);
    if (!dims) return kp_nomem(err);
    for (uint32_t i = 0; i < options->n_dims; i++) {
        const kp_opt_dim *d = &options->dims[i];
        if (!d->size || d->size > (uint64_t)KP_DIM_MAX)
            return kp_fail(err, KP_USAGE, "--dim: %" PRIu64 " is out of range (1 to 2^40)",
                           d->size);
        dims[i] = (kp_bind_dim){d->input, d->axis, (int64_t)d->size};
    }
    bind.dims = dims;
    if (options->seq != UINT64_MAX) {
        if (!options->seq || options->seq > (uint64_t)KP_DIM_MAX)
            return kp_fail(err, KP_USAGE, "--seq: %" PRIu64 " is out of range (1 to 2^40)",
                           options->seq);
        bind.seq = (int64_t)options->seq;
    }
    const char *policy = bind.dtype_policy = options->dtype_policy;
    bool known = !policy;
    for (size_t i = 0; i < KP_LEN(policies) && !known; i++) known = !strcmp(policies[i], policy);
    if (!known) {
        kp_fail(err, KP_USAGE, "'%.60s' is no dtype policy", policy);
        kp_hint(err,
                "known are float32, mixed_bfloat16, mixed_float16, bfloat16, float16, float64");
        return KP_USAGE;
    }
    *ret = bind;
    return KP_OK;
}
