/* SPDX-License-Identifier: MIT */
#include "proto/gpus.h"
#include <ctype.h>
#include <inttypes.h>
#include <math.h>

extern const char kp_text_gpus_json[];

kp_status kp_gpu_table(kp_arena *arena, kp_gpu_kinds *ret, kp_err *err)
{
    kp_status status = kp_schema_read(&kp_schema_gpu_kinds, kp_text_gpus_json,
                                      strlen(kp_text_gpus_json), arena, ret, err);
    if (status == KP_OK || status == KP_NOMEM) return status;
    kp_err_at(err, "configs/gpus.json");
    if (err) err->code = KP_INTERNAL;
    return KP_INTERNAL;
}

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        int x = *a == ' ' ? '-' : tolower((unsigned char)*a);
        int y = *b == ' ' ? '-' : tolower((unsigned char)*b);
        if (x != y) return false;
    }
    return *a == *b;
}

static bool has_name(const kp_gpu_kind *kind, const char *name)
{
    if (same_name(kind->key, name)) return true;
    if (kind->nvml_name && same_name(kind->nvml_name, name)) return true;
    for (uint32_t i = 0; i < kind->n_aliases; i++)
        if (same_name(kind->aliases[i], name)) return true;
    return false;
}

enum { NAMES_MAX = 1024 };

/* The known name nearest to `name`, keys and aliases alike; NULL if none is near. */
static const char *nearest(const kp_gpu_kinds *table, const char *name)
{
    const char *names[NAMES_MAX];
    size_t n = 0;
    for (uint32_t i = 0; i < table->n_gpus; i++) {
        const kp_gpu_kind *kind = &table->gpus[i];
        if (n < NAMES_MAX) names[n++] = kind->key;
        for (uint32_t k = 0; k < kind->n_aliases && n < NAMES_MAX; k++)
            names[n++] = kind->aliases[k];
    }
    return kp_nearest(name, names, n);
}

kp_status kp_gpu_find(const kp_gpu_kinds *table, const char *name, const kp_gpu_kind **ret,
                      kp_err *err)
{
    for (uint32_t i = 0; i < table->n_gpus; i++) {
        if (!has_name(&table->gpus[i], name)) continue;
        *ret = &table->gpus[i];
        return KP_OK;
    }
    kp_fail(err, KP_USAGE, "'%.60s' is no GPU of the table", name);
    const char *near = nearest(table, name);
    if (near)
        kp_hint(err, "did you mean '%s'?", near);
    else
        kp_hint(err, "known are H100-80G, A100-80G, L40S, T4 and others of configs/gpus.json");
    return KP_USAGE;
}

uint64_t kp_gpu_driver_reserve(const kp_gpu_kind *kind, uint64_t total_bytes, bool *ret_assumed)
{
    *ret_assumed = kind->driver_reserved_bytes == UINT64_MAX || kind->total_bytes != total_bytes;
    if (!*ret_assumed) return kind->driver_reserved_bytes;
    return kp_min_u64(kp_max_u64(total_bytes / 100, (uint64_t)256 << 20), total_bytes);
}

kp_status kp_gpu_spec(const char *text, const kp_gpu_kinds *table, uint32_t *ret_gpus,
                      const kp_gpu_kind **ret_kind, kp_err *err)
{
    char number[24];
    size_t len = strspn(text, "0123456789");
    if (!len || len >= sizeof(number) || text[len] != 'x' || !text[len + 1])
        return kp_fail(err, KP_USAGE, "'%.60s' is not GPUs x kind, like 8xH100-80G", text);
    memcpy(number, text, len);
    number[len] = 0;
    uint64_t gpus;
    const kp_gpu_kind *kind;
    if (kp_parse_u64(number, 1, KP_GPUS_PER_NODE_MAX, &gpus, err) != KP_OK)
        return kp_fail(err, KP_USAGE, "'%.60s': a node has 1 to %d GPUs, not %s", text,
                       KP_GPUS_PER_NODE_MAX, number);
    KP_TRY(kp_gpu_find(table, text + len + 1, &kind, err));
    if (kind->total_bytes == UINT64_MAX)
        return kp_fail(err, KP_USAGE, "the memory size of '%s' is not known", kind->key);
    *ret_gpus = (uint32_t)gpus;
    *ret_kind = kind;
    return KP_OK;
}

/* FNV-1a, 64 bits. */
static uint64_t fnv(uint64_t hash, const char *text)
{
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

static const char *invent_uuid(const char *node, uint32_t index, kp_arena *arena)
{
    char number[16];
    snprintf(number, sizeof(number), "/%" PRIu32, index);
    uint64_t a = fnv(fnv(0xcbf29ce484222325u, node), number);
    uint64_t b = fnv(fnv(a ^ 0x9e3779b97f4a7c15u, number), node);
    return kp_arena_fmt(arena,
                        "GPU-%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
                        a >> 32, a >> 16 & 0xffff, a & 0xffff, b >> 48, b & 0xffffffffffff);
}

static kp_gpu invent_gpu(const kp_gpu_kind *kind, uint32_t index)
{
    bool assumed;
    uint64_t reserve = kp_gpu_driver_reserve(kind, kind->total_bytes, &assumed);
    return (kp_gpu){
        .index = index,
        .name = kind->key,
        .total_bytes = kind->total_bytes,
        .driver_reserved_bytes = reserve,
        .free_bytes = kind->total_bytes - reserve,
        .state = KP_GPU_FREE,
        .compute_capability = kind->compute_capability,
        .minor = index,
        .sm_count = kind->sm_count,
        .numa_node = UINT32_MAX,
        .nvlinks = UINT32_MAX,
        .processes = 0,
    };
}

kp_status kp_node_invent(const char *name, uint32_t n_gpus, const kp_gpu_kind *kind,
                         kp_arena *arena, kp_node *ret, kp_err *err)
{
    kp_gpu *gpus = KP_NEW(arena, kp_gpu, n_gpus);
    const char *own_name = kp_arena_str(arena, name);
    if (!gpus || !own_name) return kp_nomem(err);
    for (uint32_t i = 0; i < n_gpus; i++) {
        gpus[i] = invent_gpu(kind, i);
        if (!(gpus[i].uuid = invent_uuid(name, i, arena))) return kp_nomem(err);
    }
    kp_schema_init(&kp_schema_node, ret);
    ret->name = own_name;
    ret->state = KP_NODE_READY;
    ret->boot_epoch = "invented";
    ret->simulated = true;
    ret->gpus = gpus;
    ret->n_gpus = n_gpus;
    return KP_OK;
}
