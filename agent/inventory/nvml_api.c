/* SPDX-License-Identifier: MIT */
#include "agent/inventory/nvml_api.h"
#include <dlfcn.h>

#define LIBRARY "libnvidia-ml.so.1"

typedef struct symbol_row {
    const char *symbol;
    size_t offset;
    bool needed;
} symbol_row;

static const symbol_row symbols[] = {
#define KP_NVML_SYMBOL(member, symbol, needed, arguments)                                          \
    {symbol, offsetof(kp_nvml, member), needed},
    KP_NVML_ROWS(KP_NVML_SYMBOL)
#undef KP_NVML_SYMBOL
        {"nvmlErrorString", offsetof(kp_nvml, error_text), false},
};

const char *kp_nvml_text(const kp_nvml *nvml, int result)
{
    if (result == KP_NVML_NO_SYMBOL) return "the driver's library does not have this call";
    const char *text = nvml->error_text ? nvml->error_text(result) : NULL;
    return text ? text : "unknown error";
}

/* dlsym's pointer is copied bytewise: ISO C has no conversion from it to a function. */
static kp_status load_symbols(kp_nvml *nvml, kp_err *err)
{
    for (size_t i = 0; i < KP_LEN(symbols); i++) {
        void *found = dlsym(nvml->library, symbols[i].symbol);
        if (!found && symbols[i].needed)
            return kp_fail(err, KP_IO, "%s has no '%s': the driver is too old", LIBRARY,
                           symbols[i].symbol);
        memcpy((char *)nvml + symbols[i].offset, &found, sizeof(found));
    }
    return KP_OK;
}

kp_status kp_nvml_open(kp_nvml *ret, kp_err *err)
{
    kp_nvml nvml = {.library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL)};
    if (!nvml.library) {
        kp_fail(err, KP_USAGE, "no NVIDIA driver on this machine (%s)", dlerror());
        kp_hint(err,
                "--invent 8xH100-80G makes up a machine, --inventory FILE takes a recorded one");
        return KP_USAGE;
    }
    kp_status status = load_symbols(&nvml, err);
    if (status == KP_OK) {
        int rc = nvml.init();
        if (rc != KP_NVML_OK) {
            status = kp_fail(err, KP_IO, "the NVIDIA driver does not answer: %s",
                             kp_nvml_text(&nvml, rc));
            kp_hint(err, "'nvidia-smi' on this machine should say the same; "
                         "--invent or --inventory do without a driver");
        }
    }
    if (status != KP_OK) {
        dlclose(nvml.library);
        return status;
    }
    *ret = nvml;
    return KP_OK;
}

void kp_nvml_close(kp_nvml *nvml)
{
    if (!nvml->library) return;
    nvml->shutdown();
    dlclose(nvml->library);
    *nvml = (kp_nvml){0};
}
