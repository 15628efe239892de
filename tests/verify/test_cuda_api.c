/* SPDX-License-Identifier: MIT
 *
 * Our header and the toolkit's say the same, where there is a toolkit. */
#include "tests/lib/proc.h"
#include <criterion/criterion.h>
#include <unistd.h>

/* Folder of the toolkit's headers; NULL if there is none. */
static const char *toolkit(char path[300])
{
    const char *const homes[] = {getenv("CUDA_HOME"), "/usr/local/cuda", "/usr"};
    for (size_t i = 0; i < KP_LEN(homes); i++) {
        if (!homes[i]) continue;
        snprintf(path, 300, "%s/include/nccl.h", homes[i]);
        bool nccl = access(path, R_OK) == 0;
        snprintf(path, 300, "%s/include/cublas_v2.h", homes[i]);
        bool cublas = access(path, R_OK) == 0;
        snprintf(path, 300, "%s/include", homes[i]);
        if (nccl && cublas) return path;
    }
    return NULL;
}

Test(cuda_api, the_toolkit_says_the_same)
{
    char path[300], program[200];
    if (!toolkit(path)) cr_skip_test("no CUDA toolkit with NCCL here: headers not compared");
    kp_dir dir = kp_dir_make();
    snprintf(program, sizeof(program), "%s/compare", dir.path);
    static const char *const modes[] = {"-DKP_OWN_TYPES", "-DKP_CUDA_TOOLKIT_TYPES"};
    for (size_t i = 0; i < KP_LEN(modes); i++) {
        const char *const compile[] = {"gcc",     "-std=c11", "-Wall", "-Wextra",
                                       "-Werror", modes[i],   "-I.",   "-isystem",
                                       path,      "-o",       program, "tests/standin/compare.c",
                                       NULL};
        const char *const run[] = {program, NULL};
        char *said = NULL;
        int code = kp_proc_run(&dir, compile, NULL, 60, NULL, &said);
        cr_expect(code == 0, "%s: %s", modes[i], said);
        free(said);
        cr_expect(kp_proc_run(&dir, run, NULL, 10, NULL, NULL) == 0, "%s", modes[i]);
    }
    kp_dir_remove(&dir);
}
