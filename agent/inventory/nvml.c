/* SPDX-License-Identifier: MIT
 *
 * agent/inventory/nvml.c — the GPUs of this machine, as NVIDIA's driver tells them.
 *
 * Every call may fail: then its field is absent. A GPU that is lost or needs a reset stays in the
 * inventory as `unhealthy`, under the UUID it had when it last answered. */
#include "agent/inventory/inventory.h"
#include "agent/inventory/nvml_api.h"
#include "proto/gpus.h"
#include <ctype.h>
#include <dlfcn.h>
#include <unistd.h>

enum { PROCESSES_MAX = 64 };

typedef struct seen {
    char uuid[KP_NVML_TEXT_MAX], name[KP_NVML_TEXT_MAX];
    uint64_t total_bytes, reserved_bytes;
} seen;

typedef struct machine {
    kp_nvml nvml;
    kp_arena arena; /* the table of cards */
    kp_gpu_kinds table;
    char nccl[16]; /* version; empty if there is no NCCL */
    seen seen[KP_GPUS_PER_NODE_MAX];
} machine;

/* Calls a function of the table that may be missing. */
#define CALL(m, function, ...)                                                                     \
    ((m)->nvml.function ? (m)->nvml.function(__VA_ARGS__) : (int)KP_NVML_NO_SYMBOL)

static void nvml_close(void *state)
{
    machine *m = state;
    if (!m) return;
    kp_nvml_close(&m->nvml);
    kp_arena_release(&m->arena);
    free(m);
}

/* "2.28.9" if the loader finds NCCL; its only use here is to be named. */
static void find_nccl(char *ret, size_t size)
{
    int (*version)(int *) = NULL, number = 0;
    void *library = dlopen("libnccl.so.2", RTLD_LAZY | RTLD_LOCAL);
    void *found = library ? dlsym(library, "ncclGetVersion") : NULL;
    memcpy(&version, &found, sizeof(version));
    if (version && version(&number) == 0 && number > 0) {
        int major = number >= 10000 ? number / 10000 : number / 1000; /* since 2.9: five digits */
        int rest = number >= 10000 ? number % 10000 : number % 1000;
        snprintf(ret, size, "%d.%d.%d", major, rest / 100, rest % 100);
    }
    if (library) dlclose(library);
}

static kp_status nvml_open(const kp_inventory_source *source, void **ret_state, kp_err *err)
{
    (void)source;
    machine *m = calloc(1, sizeof(*m));
    if (!m) return kp_nomem(err);
    kp_arena_init(&m->arena, 0);
    kp_status status = kp_nvml_open(&m->nvml, err);
    if (status == KP_OK) status = kp_gpu_table(&m->arena, &m->table, err);
    if (status != KP_OK) {
        nvml_close(m);
        return status;
    }
    find_nccl(m->nccl, sizeof(m->nccl));
    *ret_state = m;
    return KP_OK;
}

/* The table's row for what NVML calls the card; NULL if unknown or if its memory is another's
 * (several cards share a name). */
static const kp_gpu_kind *kind_of(const machine *m, const char *name, uint64_t total_bytes)
{
    const kp_gpu_kind *kind;
    if (kp_gpu_find(&m->table, name, &kind, NULL) != KP_OK) return NULL;
    if (kind->total_bytes == UINT64_MAX || !total_bytes) return kind;
    double ratio = (double)total_bytes / (double)kind->total_bytes;
    return ratio > 0.95 && ratio < 1.05 ? kind : NULL;
}

static bool is_lost(int result)
{
    return result == KP_NVML_GPU_IS_LOST || result == KP_NVML_RESET_REQUIRED;
}

/* Memory, with what the driver keeps where it says so. Returns NVML's result. */
static int read_memory(machine *m, kp_nvml_device device, kp_gpu *gpu)
{
    kp_nvml_memory_v2 v2 = {.version = KP_NVML_MEMORY_V2};
    int rc = CALL(m, memory_v2, device, &v2);
    if (rc == KP_NVML_OK) {
        gpu->total_bytes = v2.total;
        gpu->driver_reserved_bytes = v2.reserved;
        gpu->free_bytes = v2.free;
        return rc;
    }
    if (is_lost(rc)) return rc;
    kp_nvml_memory v1;
    rc = CALL(m, memory, device, &v1);
    if (rc != KP_NVML_OK) return rc;
    gpu->total_bytes = v1.total;
    gpu->driver_reserved_bytes = UINT64_MAX; /* filled from the table once the card is known */
    gpu->free_bytes = v1.free;
    return rc;
}

/* Ranks of verifications are this program too: they do not make a GPU busy. */
static bool is_ours(unsigned int pid)
{
    char path[48], own[512], other[512];
    snprintf(path, sizeof(path), "/proc/%u/exe", pid);
    ssize_t n = readlink(path, other, sizeof(other));
    return n > 0 && readlink("/proc/self/exe", own, sizeof(own)) == n &&
           !memcmp(own, other, (size_t)n);
}

static void read_processes(machine *m, kp_nvml_device device, kp_gpu *gpu)
{
    kp_nvml_process list[PROCESSES_MAX];
    unsigned int n = PROCESSES_MAX;
    int rc = CALL(m, processes, device, &n, list);
    if (rc == KP_NVML_INSUFFICIENT_SIZE) gpu->processes = n;
    if (rc != KP_NVML_OK) return;
    gpu->processes = n;
    for (unsigned int i = 0; i < n && i < PROCESSES_MAX; i++)
        gpu->processes -= is_ours(list[i].pid);
}

/* The processor socket that the GPU hangs on, from sysfs ("0000:17:00.0", lower case). */
static void read_numa(const char *bus_id, kp_gpu *gpu)
{
    char path[96], id[KP_NVML_TEXT_MAX];
    size_t len = strlen(bus_id), skip = len > 12 ? len - 12 : 0;
    snprintf(id, sizeof(id), "%s", bus_id + skip);
    for (char *c = id; *c; c++) *c = (char)tolower((unsigned char)*c);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.40s/numa_node", id);
    FILE *file = fopen(path, "re");
    int numa;
    if (file && fscanf(file, "%d", &numa) == 1 && numa >= 0) gpu->numa_node = (uint32_t)numa;
    if (file) fclose(file);
}

static void read_links(machine *m, kp_nvml_device device, kp_gpu *gpu)
{
    uint32_t active = 0;
    bool any = false;
    for (unsigned int link = 0; link < KP_NVML_LINKS_MAX; link++) {
        unsigned int on = 0;
        if (CALL(m, link_state, device, link, &on) != KP_NVML_OK) continue;
        any = true;
        active += on == 1;
    }
    if (any) gpu->nvlinks = active;
}

static void read_identity(machine *m, kp_nvml_device device, kp_arena *arena, kp_gpu *gpu)
{
    kp_nvml_pci pci;
    char text[KP_NVML_TEXT_MAX];
    unsigned int minor;
    int high, low;
    if (CALL(m, pci, device, &pci) == KP_NVML_OK) {
        pci.bus_id[sizeof(pci.bus_id) - 1] = 0;
        gpu->pci_bus_id = kp_arena_str(arena, pci.bus_id);
        read_numa(pci.bus_id, gpu);
    }
    if (CALL(m, serial, device, text, sizeof(text)) == KP_NVML_OK)
        gpu->serial = kp_arena_str(arena, text);
    if (CALL(m, minor, device, &minor) == KP_NVML_OK) gpu->minor = minor;
    if (CALL(m, capability, device, &high, &low) == KP_NVML_OK)
        gpu->compute_capability = kp_arena_fmt(arena, "%d.%d", high, low);
}

/* Free, busy or unhealthy, once everything else is known. A card in MIG mode cannot be used as a
 * whole, so it counts as busy. */
static kp_gpu_state judge(machine *m, kp_nvml_device device, const kp_gpu *gpu)
{
    unsigned int corrected, uncorrected, pending, failed = 0, mig = 0, mig_pending;
    if (CALL(m, remapped_rows, device, &corrected, &uncorrected, &pending, &failed) == KP_NVML_OK &&
        failed)
        return KP_GPU_UNHEALTHY;
    if (CALL(m, mig_mode, device, &mig, &mig_pending) == KP_NVML_OK && mig) return KP_GPU_BUSY;
    return gpu->processes != UINT64_MAX && gpu->processes > 0 ? KP_GPU_BUSY : KP_GPU_FREE;
}

/* A GPU that answers: true. */
static bool read_gpu(machine *m, uint32_t index, kp_arena *arena, kp_gpu *gpu)
{
    seen *known = &m->seen[index];
    kp_nvml_device device;
    char uuid[KP_NVML_TEXT_MAX], name[KP_NVML_TEXT_MAX];
    if (m->nvml.device(index, &device) != KP_NVML_OK ||
        m->nvml.uuid(device, uuid, sizeof(uuid)) != KP_NVML_OK ||
        m->nvml.name(device, name, sizeof(name)) != KP_NVML_OK ||
        read_memory(m, device, gpu) != KP_NVML_OK)
        return false;
    const kp_gpu_kind *kind = kind_of(m, name, gpu->total_bytes);
    static const kp_gpu_kind unknown = {.driver_reserved_bytes = UINT64_MAX};
    bool assumed;
    if (gpu->driver_reserved_bytes == UINT64_MAX)
        gpu->driver_reserved_bytes =
            kp_gpu_driver_reserve(kind ? kind : &unknown, gpu->total_bytes, &assumed);
    if (kind) gpu->sm_count = kind->sm_count;
    snprintf(known->uuid, sizeof(known->uuid), "%s", uuid);
    snprintf(known->name, sizeof(known->name), "%s", kind ? kind->key : name);
    known->total_bytes = gpu->total_bytes;
    known->reserved_bytes = gpu->driver_reserved_bytes;
    read_identity(m, device, arena, gpu);
    read_links(m, device, gpu);
    read_processes(m, device, gpu);
    gpu->state = judge(m, device, gpu);
    return true;
}

/* A GPU that does not answer: what it was, unhealthy. */
static void lose_gpu(const seen *known, kp_gpu *gpu)
{
    gpu->state = KP_GPU_UNHEALTHY;
    gpu->total_bytes = known->total_bytes;
    gpu->driver_reserved_bytes = known->reserved_bytes;
    gpu->free_bytes = 0;
}

static void read_versions(machine *m, kp_arena *arena, kp_host_info *host)
{
    char text[KP_NVML_TEXT_MAX];
    int cuda;
    if (CALL(m, driver_version, text, sizeof(text)) == KP_NVML_OK)
        host->driver = kp_arena_str(arena, text);
    if (CALL(m, cuda_version, &cuda) == KP_NVML_OK)
        host->cuda = kp_arena_fmt(arena, "%d.%d", cuda / 1000, cuda % 1000 / 10);
    if (*m->nccl) host->nccl = kp_arena_str(arena, m->nccl);
}

/* One GPU under its own name, or under the node's if it never answered. */
static kp_status take_gpu(machine *m, uint32_t index, const char *node, kp_arena *arena,
                          kp_gpu *gpu, kp_err *err)
{
    const seen *known = &m->seen[index];
    kp_schema_init(&kp_schema_gpu, gpu);
    gpu->index = index;
    if (!read_gpu(m, index, arena, gpu)) lose_gpu(known, gpu);
    gpu->uuid = *known->uuid ? kp_arena_str(arena, known->uuid)
                             : kp_arena_fmt(arena, "lost-%s-%u", node, index);
    gpu->name = *known->name ? kp_arena_str(arena, known->name) : "unknown";
    return gpu->uuid && gpu->name ? KP_OK : kp_nomem(err);
}

static kp_status nvml_probe(void *state, kp_arena *arena, kp_node *ret, kp_err *err)
{
    machine *m = state;
    unsigned int n = 0;
    int rc = m->nvml.count(&n);
    if (rc != KP_NVML_OK)
        return kp_fail(err, KP_IO, "the driver does not tell how many GPUs there are: %s",
                       kp_nvml_text(&m->nvml, rc));
    if (n > KP_GPUS_PER_NODE_MAX) n = KP_GPUS_PER_NODE_MAX;
    kp_host_probe(arena, &ret->host);
    read_versions(m, arena, &ret->host);
    kp_gpu *gpus = KP_NEW(arena, kp_gpu, n);
    if (!gpus) return kp_nomem(err);
    for (uint32_t i = 0; i < n; i++) KP_TRY(take_gpu(m, i, ret->name, arena, &gpus[i], err));
    ret->gpus = gpus;
    ret->n_gpus = n;
    return KP_OK;
}

const kp_prober kp_prober_nvml = {"nvml", true, nvml_open, nvml_probe, nvml_close};
