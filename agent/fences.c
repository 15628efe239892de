/* SPDX-License-Identifier: MIT */
#include "agent/fences.h"
#include <inttypes.h>

static uint32_t find(const kp_fences *fences, const char *gpu)
{
    uint32_t i = 0;
    while (i < fences->n && strcmp(fences->rows[i].gpu, gpu)) i++;
    return i;
}

kp_status kp_fences_raise(kp_fences *fences, const char *gpu, uint64_t fence, kp_err *err)
{
    uint32_t i = find(fences, gpu);
    if (i == fences->n) {
        if (i == KP_LEN(fences->rows) || strlen(gpu) >= sizeof(fences->rows[0].gpu))
            return kp_fail(err, KP_CONFLICT, "GPU '%.96s': no room for its fence", gpu);
        snprintf(fences->rows[i].gpu, sizeof(fences->rows[i].gpu), "%s", gpu);
        fences->rows[i].highest = 0;
        fences->n++;
    }
    if (fence > fences->rows[i].highest) fences->rows[i].highest = fence;
    return KP_OK;
}

kp_status kp_fences_check(const kp_fences *fences, const char *gpu, uint64_t fence, kp_err *err)
{
    uint32_t i = find(fences, gpu);
    if (i == fences->n || fence >= fences->rows[i].highest) return KP_OK;
    return kp_fail(err, KP_CONFLICT,
                   "GPU '%.96s' was leased again: fence %" PRIu64 " is older than %" PRIu64, gpu,
                   fence, fences->rows[i].highest);
}
