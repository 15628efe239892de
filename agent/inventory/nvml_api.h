/* SPDX-License-Identifier: MIT
 *
 * agent/inventory/nvml_api.h — what we use of libnvidia-ml.so.1, loaded at run time.
 *
 * Only the calls and layouts that the inventory needs, written down after NVIDIA's public NVML API
 * reference. There is no NVML in Debian's main archive, and a program linked to it would not start
 * on a machine without a driver. A call that an older driver lacks stays NULL. */
#ifndef KP_AGENT_INVENTORY_NVML_API_H
#define KP_AGENT_INVENTORY_NVML_API_H

#include "proto/status.h"

typedef enum kp_nvml_return {
    KP_NVML_OK = 0,
    KP_NVML_NOT_SUPPORTED = 3,
    KP_NVML_INSUFFICIENT_SIZE = 7,
    KP_NVML_DRIVER_NOT_LOADED = 9,
    KP_NVML_GPU_IS_LOST = 15,
    KP_NVML_RESET_REQUIRED = 16,
    KP_NVML_NO_SYMBOL = -1 /* ours: the library does not have the call */
} kp_nvml_return;

typedef struct kp_nvml_device_st *kp_nvml_device;

/* nvmlMemory_v2_t: `used` includes `reserved`. */
typedef struct kp_nvml_memory_v2 {
    unsigned int version; /* KP_NVML_MEMORY_V2 */
    unsigned long long total, reserved, free, used;
} kp_nvml_memory_v2;
_Static_assert(sizeof(kp_nvml_memory_v2) == 40, "nvmlMemory_v2_t");
#define KP_NVML_MEMORY_V2 ((unsigned int)sizeof(kp_nvml_memory_v2) | 2u << 24)

/* nvmlMemory_t: `used` hides what is reserved. */
typedef struct kp_nvml_memory {
    unsigned long long total, free, used;
} kp_nvml_memory;

/* nvmlPciInfo_t of nvmlDeviceGetPciInfo_v3. */
typedef struct kp_nvml_pci {
    char bus_id_legacy[16];
    unsigned int domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32]; /* "00000000:17:00.0" */
} kp_nvml_pci;
_Static_assert(sizeof(kp_nvml_pci) == 68, "nvmlPciInfo_t");

/* nvmlProcessInfo_v2_t, as nvmlDeviceGetComputeRunningProcesses_v3 fills it. */
typedef struct kp_nvml_process {
    unsigned int pid;
    unsigned long long used_bytes;
    unsigned int gpu_instance, compute_instance;
} kp_nvml_process;
_Static_assert(sizeof(kp_nvml_process) == 24, "nvmlProcessInfo_v2_t");

enum { KP_NVML_LINKS_MAX = 18, KP_NVML_TEXT_MAX = 96 };

/*    member        symbol, needed     arguments */
#define KP_NVML_ROWS(X)                                                                            \
    X(init, "nvmlInit_v2", true, (void))                                                           \
    X(shutdown, "nvmlShutdown", true, (void))                                                      \
    X(driver_version, "nvmlSystemGetDriverVersion", false, (char *text, unsigned int len))         \
    X(cuda_version, "nvmlSystemGetCudaDriverVersion_v2", false, (int *version))                    \
    X(count, "nvmlDeviceGetCount_v2", true, (unsigned int *count))                                 \
    X(device, "nvmlDeviceGetHandleByIndex_v2", true, (unsigned int index, kp_nvml_device *ret))    \
    X(uuid, "nvmlDeviceGetUUID", true, (kp_nvml_device gpu, char *text, unsigned int len))         \
    X(name, "nvmlDeviceGetName", true, (kp_nvml_device gpu, char *text, unsigned int len))         \
    X(memory_v2, "nvmlDeviceGetMemoryInfo_v2", false,                                              \
      (kp_nvml_device gpu, kp_nvml_memory_v2 * ret))                                               \
    X(memory, "nvmlDeviceGetMemoryInfo", false, (kp_nvml_device gpu, kp_nvml_memory * ret))        \
    X(pci, "nvmlDeviceGetPciInfo_v3", false, (kp_nvml_device gpu, kp_nvml_pci * ret))              \
    X(minor, "nvmlDeviceGetMinorNumber", false, (kp_nvml_device gpu, unsigned int *ret))           \
    X(serial, "nvmlDeviceGetSerial", false, (kp_nvml_device gpu, char *text, unsigned int len))    \
    X(capability, "nvmlDeviceGetCudaComputeCapability", false,                                     \
      (kp_nvml_device gpu, int *major, int *minor))                                                \
    X(processes, "nvmlDeviceGetComputeRunningProcesses_v3", false,                                 \
      (kp_nvml_device gpu, unsigned int *count, kp_nvml_process *ret))                             \
    X(link_state, "nvmlDeviceGetNvLinkState", false,                                               \
      (kp_nvml_device gpu, unsigned int link, unsigned int *active))                               \
    X(remapped_rows, "nvmlDeviceGetRemappedRows", false,                                           \
      (kp_nvml_device gpu, unsigned int *corrected, unsigned int *uncorrected,                     \
       unsigned int *pending, unsigned int *failed))                                               \
    X(mig_mode, "nvmlDeviceGetMigMode", false,                                                     \
      (kp_nvml_device gpu, unsigned int *current, unsigned int *pending))

/* The table of functions; each returns a kp_nvml_return. */
typedef struct kp_nvml {
    void *library;
#define KP_NVML_MEMBER(member, symbol, needed, arguments) int(*member) arguments;
    KP_NVML_ROWS(KP_NVML_MEMBER)
#undef KP_NVML_MEMBER
    const char *(*error_text)(int result); /* nvmlErrorString */
} kp_nvml;

/* Loads the library and starts it. KP_USAGE: there is none; KP_IO: its driver does not answer. */
kp_status kp_nvml_open(kp_nvml *ret, kp_err *err);
void kp_nvml_close(kp_nvml *nvml); /* a zeroed one is fine */

/* What a return value means, in NVML's words. */
const char *kp_nvml_text(const kp_nvml *nvml, int result);

#endif
