/* SPDX-License-Identifier: MIT */
#include "planner/plan/explain.h"
#include "planner/cli/commands.h"
#include "planner/cli/file.h"
#include "planner/cli/model.h"
#include "planner/cli/output.h"

/* What "no" means in one line, and the first change that would make it fit. */
static kp_status does_not_fit(const kp_explain *explain, const char *path, kp_err *err)
{
    const char *gpu = explain->device.gpu ? explain->device.gpu : "the GPU";
    kp_fail(err, KP_INFEASIBLE, "does not fit: one training step needs %s, %s has %s",
            kp_size_text(explain->peak.bytes).s, gpu, kp_size_text(explain->device.usable_bytes).s);
    for (uint32_t i = 0; i < explain->n_remedies; i++) {
        const kp_explain_remedy *remedy = &explain->remedies[i];
        if (!remedy->fits_after) continue;
        kp_hint(err, "%s makes it fit: %s", remedy->change, kp_size_text(remedy->peak_after_bytes).s);
        break;
    }
    kp_err_at(err, "%s", kp_file_place(path));
    return KP_INFEASIBLE;
}

kp_status kp_cmd_explain(kp_cli *cli, kp_err *err)
{
    kp_model_file file;
    kp_gpu_kinds gpus;
    kp_explain explain;
    KP_TRY(kp_model_load(cli, cli->args[0], &file, err));
    KP_TRY(kp_gpu_table(&cli->arena, &gpus, err));
    kp_explain_request request = {
        .bytes = file.bytes,
        .len = file.len,
        .name = file.name,
        .options = &cli->values.options,
        .gpus = &gpus,
    };
    KP_TRY(kp_file_at(kp_explain_make(&request, &cli->arena, &explain, err), file.path, err));
    cli->warnings = explain.warnings;
    cli->n_warnings = explain.n_warnings;
    unsigned width = kp_cli_width();
    if (cli->values.json) KP_TRY(kp_cli_json(cli, &kp_schema_explain, &explain, err));
    else kp_explain_print(&explain, width ? width : 100, &cli->out);
    cli->whole = true;
    return explain.verdict == KP_FIT_NO ? does_not_fit(&explain, file.path, err) : KP_OK;
}
