/* SPDX-License-Identifier: MIT */
#include "agent/verify/cuda_api.h"
#include <dlfcn.h>

/* What a person calls each library, and its file names, newest first. */
static const struct library {
    const char *what, *names[3];
} libraries[KP_CUDA_LIBRARY_COUNT] = {
    [KP_CUDA_CUDART] = {"CUDA runtime", {"libcudart.so.13", "libcudart.so.12"}},
    [KP_CUDA_CUBLAS] = {"cuBLAS", {"libcublas.so.13", "libcublas.so.12"}},
    [KP_CUDA_NCCL] = {"NCCL", {"libnccl.so.2"}},
};

static const struct function {
    const char *name;
    kp_cuda_library library;
    size_t offset; /* in kp_cuda */
} functions[] = {
#define KP_CUDA_ROW(library, result, name, arguments)                                              \
    {#name, KP_CUDA_##library, offsetof(kp_cuda, name)},
    KP_CUDA_FUNCTIONS(KP_CUDA_ROW)
#undef KP_CUDA_ROW
};

/* Opens the first name that is there. */
static kp_status open_library(const struct library *library, const char *dir, void **ret,
                              kp_err *err)
{
    char path[512], first[300] = "";
    for (int i = 0; i < 3 && library->names[i]; i++) {
        snprintf(path, sizeof(path), "%s%s%s", dir ? dir : "", dir ? "/" : "", library->names[i]);
        if ((*ret = dlopen(path, RTLD_NOW | RTLD_LOCAL)) != NULL) return KP_OK;
        const char *why = dlerror();
        if (!first[0]) snprintf(first, sizeof(first), "%s", why ? why : library->names[i]);
    }
    kp_fail(err, KP_UNSUPPORTED, "%s not found: %s", library->what, first);
    kp_hint(err, "install it on the node, or verify with the host executor");
    return KP_UNSUPPORTED;
}

void kp_cuda_unload(kp_cuda *cuda)
{
    for (int i = KP_CUDA_LIBRARY_COUNT; i-- > 0;)
        if (cuda->libraries[i]) dlclose(cuda->libraries[i]);
    *cuda = (kp_cuda){0};
}

kp_status kp_cuda_load(const char *dir, kp_cuda *ret, kp_err *err)
{
    kp_cuda cuda = {0};
    kp_status status;
    for (int i = 0; i < KP_CUDA_LIBRARY_COUNT; i++)
        KP_TRY_OUT(open_library(&libraries[i], dir, &cuda.libraries[i], err));
    for (size_t i = 0; i < KP_LEN(functions); i++) {
        const struct function *f = &functions[i];
        void *symbol = dlsym(cuda.libraries[f->library], f->name);
        if (!symbol) {
            status = kp_fail(err, KP_UNSUPPORTED, "%s has no function '%s': it is too old",
                             libraries[f->library].what, f->name);
            goto out;
        }
        memcpy((char *)&cuda + f->offset, &symbol, sizeof(symbol)); /* POSIX: one representation */
    }
    *ret = cuda;
    return KP_OK;
out:
    kp_cuda_unload(&cuda);
    return status;
}
