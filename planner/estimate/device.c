/* SPDX-License-Identifier: MIT */
#include "planner/estimate/device.h"

/* JAX's default share of the card (XLA_PYTHON_CLIENT_MEM_FRACTION). */
#define JAX_SHARE 0.75

kp_status kp_device_resolve(const kp_gpu_kinds *table, const kp_options *options, kp_arena *arena,
                            kp_device *ret, kp_err *err)
{
    (void)arena;
    bool has_memory = options->memory_bytes != UINT64_MAX, assumed;
    const char *name = options->gpu ? options->gpu : KP_GPU_DEFAULT;
    kp_device device = {0};
    KP_TRY(kp_gpu_find(table, name, &device.kind, err));
    if (options->gpu || !has_memory) device.gpu = device.kind->key;
    device.total_bytes = has_memory ? options->memory_bytes : device.kind->total_bytes;
    if (device.total_bytes == UINT64_MAX) {
        kp_fail(err, KP_USAGE, "the memory size of '%s' is not known", device.kind->key);
        kp_hint(err, "say it with --memory, like --memory 96G");
        return KP_USAGE;
    }
    if (!device.total_bytes || !kp_size_ok(device.total_bytes))
        return kp_fail(err, KP_USAGE, "a GPU memory of %s is out of range",
                       kp_size_text(device.total_bytes).s);
    uint64_t reserve = device.gpu ? kp_gpu_driver_reserve(device.kind, device.total_bytes, &assumed)
                                  : device.total_bytes / 100;
    device.usable_bytes = kp_sub_u64(device.total_bytes, reserve);
    if (options->preallocate)
        device.usable_bytes = (uint64_t)((double)device.total_bytes * JAX_SHARE);
    *ret = device;
    return KP_OK;
}
