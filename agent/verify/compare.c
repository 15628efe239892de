/* SPDX-License-Identifier: MIT */
#include "agent/verify/compare.h"
#include <float.h>
#include <math.h>

static float *room(kp_shape shape)
{
    uint64_t bytes = kp_mul_u64(kp_shape_elems(shape, 1), sizeof(float));
    return kp_size_ok(bytes) ? malloc(bytes ? (size_t)bytes : 1) : NULL;
}

static kp_block whole(kp_shape shape)
{
    return kp_block_make(shape, KP_NO_AXIS, 0, 1);
}

void kp_truth_release(kp_truth *truth)
{
    free(truth->y);
    free(truth->dx);
    free(truth->dw);
    *truth = (kp_truth){0};
}

kp_status kp_truth_make(const kp_problem *p, const kp_data *data, kp_truth *ret, kp_err *err)
{
    float *x = room(p->x), *dy = room(p->y), *w = p->has_w ? room(p->w) : NULL;
    ret->y = room(p->y);
    ret->dx = p->has_dx ? room(p->x) : NULL;
    ret->dw = p->has_w ? room(p->w) : NULL;
    bool ok =
        x && dy && ret->y && (w || !p->has_w) && (ret->dw || !p->has_w) && (ret->dx || !p->has_dx);
    if (ok) {
        kp_data_fill(data, KP_DATA_X, whole(p->x), x);
        kp_data_fill(data, KP_DATA_DY, whole(p->y), dy);
        if (w) kp_data_fill(data, KP_DATA_W, whole(p->w), w);
        kp_op_call call = {.problem = p,
                           .direction = KP_FORWARD,
                           .x = p->x,
                           .w = p->w,
                           .y = p->y,
                           .x_at = x,
                           .w_at = w,
                           .dy_at = dy,
                           .y_at = ret->y,
                           .dx_at = ret->dx,
                           .dw_at = ret->dw};
        kp_host_run(&call);
        call.direction = KP_BACKWARD;
        kp_host_run(&call);
    }
    free(x);
    free(dy);
    free(w);
    return ok ? KP_OK : kp_nomem(err);
}

/* "y(3, 17)": the place of an element, axes of size 1 left out. */
static void describe(kp_difference *diff, const char *name, kp_shape shape, uint64_t index,
                     double got, double want)
{
    uint64_t at[KP_RANK_MAX];
    for (unsigned i = shape.rank; i-- > 0;) {
        at[i] = index % (uint64_t)shape.dim[i];
        index /= (uint64_t)shape.dim[i];
    }
    char place[120] = "";
    size_t len = 0;
    for (unsigned i = 0; i < shape.rank && len < sizeof(place); i++) {
        if (shape.dim[i] == 1) continue;
        len += (size_t)snprintf(place + len, sizeof(place) - len, "%s%llu", len ? ", " : "",
                                (unsigned long long)at[i]);
    }
    snprintf(diff->first, sizeof(diff->first), "%s(%s) is %g, the uncut layer has %g", name, place,
             got, want);
}

void kp_difference_add(kp_difference *diff, const char *name, const float *got, kp_block block,
                       const float *want)
{
    const kp_runs_of runs = kp_block_runs(block);
    const uint64_t n = kp_block_elems(block);
    diff->of += n;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t index = kp_runs_index(runs, i);
        double a = got[i], b = want[index];
        if (a == b) continue;
        if (diff->count++ == 0) describe(diff, name, block.full, index, a, b);
        double d = fabs(a - b);
        diff->largest = fmax(diff->largest, isfinite(d) ? d : FLT_MAX);
    }
}

const char *kp_difference_text(const kp_difference *diff, kp_arena *arena)
{
    return kp_arena_fmt(arena, "%s; %llu of %llu elements differ", diff->first,
                        (unsigned long long)diff->count, (unsigned long long)diff->of);
}
