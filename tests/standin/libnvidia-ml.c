/* SPDX-License-Identifier: MIT
 *
 * tests/standin/libnvidia-ml.c — NVIDIA's management library for machines that have no GPU.
 *
 * The same symbols and layouts as the real libnvidia-ml.so.1, found before it by LD_LIBRARY_PATH.
 * STANDIN_NVML lists the GPUs, one word each: fine, busy, lost, late (lost from the second look
 * on), odd (a card in no table, an old driver's answers), mig, worn (row remapping failed). Other
 * words turn the whole library: noinit (nvmlInit fails), hang (the second look never ends), crash
 * (the second look ends the process). */
#include "agent/inventory/nvml_api.h"
#include <signal.h>
#include <unistd.h>

enum { GPUS_MAX = 16, LOST = KP_NVML_GPU_IS_LOST, NO = KP_NVML_NOT_SUPPORTED };
#define GIB ((unsigned long long)1 << 30)

struct kp_nvml_device_st {
    char word[16];
    unsigned int index;
};

static struct kp_nvml_device_st gpus[GPUS_MAX];
static unsigned int n_gpus, looks;
static bool no_init, hangs, crashes;

/* A declaration in front, for -Wmissing-prototypes. */
#define EXPORT(declaration)                                                                        \
    declaration;                                                                                   \
    declaration

static bool is(kp_nvml_device gpu, const char *word)
{
    return !strcmp(gpu->word, word);
}

static int text(char *to, unsigned int len, const char *from)
{
    if (strlen(from) >= len) return KP_NVML_INSUFFICIENT_SIZE;
    memcpy(to, from, strlen(from) + 1);
    return KP_NVML_OK;
}

EXPORT(int nvmlInit_v2(void))
{
    const char *at = getenv("STANDIN_NVML");
    n_gpus = looks = 0;
    while (at && *at && n_gpus < GPUS_MAX) {
        char word[16];
        size_t len = strcspn(at, ",");
        snprintf(word, sizeof(word), "%.*s", (int)len, at);
        at += len + (at[len] == ',');
        no_init |= !strcmp(word, "noinit");
        hangs |= !strcmp(word, "hang");
        crashes |= !strcmp(word, "crash");
        if (!strcmp(word, "noinit") || !strcmp(word, "hang") || !strcmp(word, "crash")) continue;
        gpus[n_gpus].index = n_gpus;
        memcpy(gpus[n_gpus++].word, word, sizeof(word));
    }
    return no_init ? KP_NVML_DRIVER_NOT_LOADED : KP_NVML_OK;
}

EXPORT(int nvmlShutdown(void))
{
    return KP_NVML_OK;
}

EXPORT(const char *nvmlErrorString(int result))
{
    return result == KP_NVML_DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Some Error";
}

EXPORT(int nvmlSystemGetDriverVersion(char *to, unsigned int len))
{
    return text(to, len, "570.124.06");
}

EXPORT(int nvmlSystemGetCudaDriverVersion_v2(int *version))
{
    *version = 12080;
    return KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetCount_v2(unsigned int *count))
{
    looks++;
    if (looks > 1 && crashes) raise(SIGKILL);
    while (looks > 1 && hangs) pause();
    *count = n_gpus;
    return KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetHandleByIndex_v2(unsigned int index, kp_nvml_device *ret))
{
    *ret = &gpus[index];
    return is(*ret, "lost") || (is(*ret, "late") && looks > 1) ? LOST : KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetUUID(kp_nvml_device gpu, char *to, unsigned int len))
{
    char uuid[64];
    snprintf(uuid, sizeof(uuid), "GPU-00000000-0000-0000-0000-%012u", gpu->index);
    return text(to, len, uuid);
}

EXPORT(int nvmlDeviceGetName(kp_nvml_device gpu, char *to, unsigned int len))
{
    return text(to, len, is(gpu, "odd") ? "NVIDIA Unheard Of" : "NVIDIA H100 80GB HBM3");
}

EXPORT(int nvmlDeviceGetMemoryInfo_v2(kp_nvml_device gpu, kp_nvml_memory_v2 *ret))
{
    if (is(gpu, "odd")) return NO;
    if (ret->version != KP_NVML_MEMORY_V2) return 25; /* argument version mismatch */
    ret->total = 85520809984u;
    ret->reserved = 600 * 1024 * 1024;
    ret->used = ret->reserved + (is(gpu, "busy") ? 10 * GIB : 0);
    ret->free = ret->total - ret->used;
    return KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetMemoryInfo(kp_nvml_device gpu, kp_nvml_memory *ret))
{
    (void)gpu;
    *ret = (kp_nvml_memory){.total = 10 * GIB, .free = 9 * GIB, .used = GIB};
    return KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetPciInfo_v3(kp_nvml_device gpu, kp_nvml_pci *ret))
{
    if (is(gpu, "odd")) return NO;
    snprintf(ret->bus_id, sizeof(ret->bus_id), "00000000:%02X:00.0", 0x1b + gpu->index);
    return KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetMinorNumber(kp_nvml_device gpu, unsigned int *ret))
{
    *ret = gpu->index + 4;
    return is(gpu, "odd") ? NO : KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetSerial(kp_nvml_device gpu, char *to, unsigned int len))
{
    return is(gpu, "odd") ? NO : text(to, len, "1650522004332");
}

EXPORT(int nvmlDeviceGetCudaComputeCapability(kp_nvml_device gpu, int *major, int *minor))
{
    *major = is(gpu, "odd") ? 5 : 9;
    *minor = is(gpu, "odd") ? 2 : 0;
    return KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetComputeRunningProcesses_v3(kp_nvml_device gpu, unsigned int *count,
                                                   kp_nvml_process *ret))
{
    unsigned int n = is(gpu, "busy") ? 3 : 0;
    if (is(gpu, "odd")) return NO;
    if (*count < n) {
        *count = n;
        return KP_NVML_INSUFFICIENT_SIZE;
    }
    /* Two of others and one of the agent's own. */
    if (n) ret[0] = ret[1] = (kp_nvml_process){.pid = 1, .used_bytes = 5 * GIB};
    if (n) ret[2] = (kp_nvml_process){.pid = (unsigned int)getpid()};
    *count = n;
    return KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetNvLinkState(kp_nvml_device gpu, unsigned int link, unsigned int *active))
{
    *active = link < 18;
    return is(gpu, "odd") || link >= 18 ? NO : KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetRemappedRows(kp_nvml_device gpu, unsigned int *corrected,
                                     unsigned int *uncorrected, unsigned int *pending,
                                     unsigned int *failed))
{
    *corrected = *uncorrected = *pending = 0;
    *failed = is(gpu, "worn");
    return is(gpu, "odd") ? NO : KP_NVML_OK;
}

EXPORT(int nvmlDeviceGetMigMode(kp_nvml_device gpu, unsigned int *current, unsigned int *pending))
{
    *current = *pending = is(gpu, "mig");
    return is(gpu, "odd") ? NO : KP_NVML_OK;
}
