/* SPDX-License-Identifier: MIT
 *
 * agent/inventory/host.c — the machine around the GPUs (Linux: /proc, uname, statvfs). */
#include "agent/inventory/inventory.h"
#include <inttypes.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

/* A "Name:  12345 kB" line of /proc/meminfo in bytes. */
static bool meminfo(const char *line, const char *name, uint64_t *ret_bytes)
{
    size_t len = strlen(name);
    uint64_t kib;
    if (strncmp(line, name, len) || sscanf(line + len, ": %" SCNu64 " kB", &kib) != 1) return false;
    *ret_bytes = kib * 1024;
    return true;
}

static void read_memory(kp_host_info *ret)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[256];
    while (file && fgets(line, sizeof(line), file))
        if (!meminfo(line, "MemTotal", &ret->memory_total_bytes))
            meminfo(line, "MemAvailable", &ret->memory_free_bytes);
    if (file) fclose(file);
}

void kp_host_probe(kp_arena *arena, kp_host_info *ret)
{
    struct utsname names;
    struct statvfs shm;
    if (uname(&names) == 0) {
        ret->hostname = kp_arena_str(arena, names.nodename);
        ret->kernel = kp_arena_fmt(arena, "%s %s %s", names.sysname, names.release, names.machine);
    }
    read_memory(ret);
    if (statvfs("/dev/shm", &shm) == 0) ret->shm_bytes = (uint64_t)shm.f_blocks * shm.f_frsize;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (cpus > 0) ret->cpus = (uint32_t)cpus;
}
