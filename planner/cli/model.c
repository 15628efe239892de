/* SPDX-License-Identifier: MIT */
#include "planner/cli/model.h"
#include "planner/cli/file.h"
#include "planner/estimate/training.h"

static const char *model_name(kp_cli *cli, const char *path)
{
    if (!strcmp(path, "-")) return "model";
    const char *slash = strrchr(path, '/'), *base = slash && slash[1] ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    size_t len = dot && dot > base ? (size_t)(dot - base) : strlen(base);
    return kp_arena_strn(&cli->arena, base, len);
}

kp_status kp_model_load(kp_cli *cli, const char *path, kp_model_file *ret, kp_err *err)
{
    kp_model_file file = {.path = path, .name = model_name(cli, path)};
    if (!file.name) return kp_nomem(err);
    KP_TRY(kp_file_read(cli, path, &file.bytes, &file.len, err));
    *ret = file;
    return KP_OK;
}

kp_status kp_model_open(kp_cli *cli, const char *path, kp_model_file *ret, kp_err *err)
{
    kp_bind bind;
    kp_model_file file;
    KP_TRY(kp_model_load(cli, path, &file, err));
    KP_TRY(kp_training_bind(&cli->values.options, &cli->arena, &bind, err));
    KP_TRY(kp_file_at(kp_model_read(file.bytes, file.len, file.name, &bind, &cli->arena,
                                    &file.graph, err),
                      path, err));
    *ret = file;
    return KP_OK;
}
