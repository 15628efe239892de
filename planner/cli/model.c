/* SPDX-License-Identifier: MIT */
#include "planner/cli/model.h"
#include "planner/cli/file.h"
#include "planner/cli/source.h"
#include "planner/estimate/training.h"

/* The option names a file; everything behind reads its text. */
static kp_status load_layers(kp_cli *cli, kp_err *err)
{
    size_t len;
    const char **text = &cli->values.options.layers_spec;
    if (!*text) return KP_OK;
    const char *path = *text;
    KP_TRY(kp_file_read(cli, path, text, &len, err));
    if (!memchr(*text, 0, len)) return KP_OK;
    return kp_file_at(kp_fail(err, KP_INPUT, "it is no text: a byte is zero"), path, err);
}

kp_status kp_model_load(kp_cli *cli, const char *path, kp_model_file *ret, kp_err *err)
{
    kp_model_file file = {.path = path, .name = kp_file_name(path)};
    KP_TRY(kp_source_model(cli, path, &file.bytes, &file.len, err));
    KP_TRY(load_layers(cli, err));
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
