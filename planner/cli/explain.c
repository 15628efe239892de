/* SPDX-License-Identifier: MIT */
#include "planner/plan/explain.h"
#include "planner/cli/commands.h"
#include "planner/cli/file.h"
#include "planner/cli/model.h"
#include "planner/cli/output.h"
#include "planner/cli/source.h"

/* The first change that makes it fit, or the first ones together. */
static void hint_of(const kp_explain *explain, kp_err *err)
{
    for (uint32_t i = 0; i < explain->n_remedies; i++) {
        const kp_explain_remedy *remedy = &explain->remedies[i];
        if (!remedy->fits_after) continue;
        kp_hint(err, "%s makes it fit: %s", remedy->change,
                kp_size_text(remedy->peak_after_bytes).s);
        return;
    }
    char all[200] = "";
    uint32_t n = explain->n_together;
    if (!n || explain->together[n - 1].verdict != KP_FIT_FITS) return;
    for (uint32_t i = 0; i < n; i++) {
        size_t len = strlen(all);
        snprintf(all + len, sizeof(all) - len, "%s%s", i ? " and " : "",
                 explain->together[i].change);
    }
    kp_hint(err, "%s make it fit together: %s", all,
            kp_size_text(explain->together[n - 1].peak_bytes).s);
}

/* What "no" means in one line, and what would make it fit. */
static kp_status does_not_fit(const kp_explain *explain, const char *path, kp_err *err)
{
    const char *gpu = explain->device.gpu ? explain->device.gpu : "the GPU";
    kp_fail(err, KP_INFEASIBLE, "does not fit: one training step needs %s, %s has %s",
            kp_size_text(explain->peak.bytes).s, gpu, kp_size_text(explain->device.usable_bytes).s);
    hint_of(explain, err);
    kp_err_at(err, "%s", kp_file_place(path));
    return KP_INFEASIBLE;
}

/* The option is a message, or names a file that holds one. */
static kp_status load_message(kp_cli *cli, const char **ret, size_t *ret_len, kp_err *err)
{
    const char *text = cli->values.error;
    if (!text) return KP_OK;
    bool standard = !strcmp(text, "-");
    if (standard && !strcmp(cli->args[0], "-"))
        return kp_fail(err, KP_USAGE, "--error and FILE are both standard input");
    if (standard || kp_file_exists(text)) return kp_file_read(cli, text, ret, ret_len, err);
    *ret = text;
    *ret_len = strlen(text);
    return KP_OK;
}

static kp_status load_questions(kp_cli *cli, kp_buf *svg, kp_explain_questions *ret, kp_err *err)
{
    const kp_values *v = &cli->values;
    bool both = v->versus && !strcmp(v->versus, "-") && !strcmp(cli->args[0], "-");
    if (both) return kp_fail(err, KP_USAGE, "--versus and FILE are both standard input");
    if (v->svg && !strcmp(v->svg, "-")) {
        kp_fail(err, KP_USAGE, "--svg: '-' is where the explanation goes");
        kp_hint(err, "name a file");
        return KP_USAGE;
    }
    *ret = (kp_explain_questions){.largest = v->largest, .svg = v->svg ? svg : NULL};
    KP_TRY(load_message(cli, &ret->error, &ret->error_len, err));
    if (!v->versus) return KP_OK;
    ret->versus_name = kp_file_name(v->versus);
    return kp_source_model(cli, v->versus, &ret->versus, &ret->versus_len, err);
}

static kp_status explain_it(kp_cli *cli, const kp_model_file *file, const kp_gpu_kinds *gpus,
                            kp_explain *ret, kp_err *err)
{
    kp_explain_questions questions;
    kp_buf svg;
    kp_explain_request request = {
        .bytes = file->bytes,
        .len = file->len,
        .name = file->name,
        .options = &cli->values.options,
        .gpus = gpus,
    };
    kp_buf_init(&svg, (size_t)16 << 20);
    bool other = false; /* it is the other file that fails; both may have one name */
    kp_status status = load_questions(cli, &svg, &questions, err);
    questions.versus_failed = &other;
    if (status == KP_OK) {
        status = kp_explain_ask(&request, &questions, &cli->arena, ret, err);
        if (questions.error && questions.error == cli->values.error && status == KP_USAGE &&
            !strpbrk(questions.error, " \n"))
            kp_hint(err, "there is no file of that name; give the message itself, or its log file");
        kp_file_at(status, other ? cli->values.versus : file->path, err);
    }
    if (status == KP_OK && questions.svg)
        status = kp_file_replace(cli->values.svg, kp_buf_text(&svg), svg.len, err);
    kp_buf_release(&svg);
    return status;
}

kp_status kp_cmd_explain(kp_cli *cli, kp_err *err)
{
    kp_model_file file;
    kp_gpu_kinds gpus;
    kp_explain explain;
    KP_TRY(kp_model_load(cli, cli->args[0], &file, err));
    KP_TRY(kp_gpu_table(&cli->arena, &gpus, err));
    KP_TRY(explain_it(cli, &file, &gpus, &explain, err));
    cli->warnings = explain.warnings;
    cli->n_warnings = explain.n_warnings;
    unsigned width = kp_cli_width();
    if (cli->values.json)
        KP_TRY(kp_cli_json(cli, &kp_schema_explain, &explain, err));
    else
        kp_explain_print(&explain, width ? width : 100, &cli->out);
    cli->whole = true;
    return explain.verdict == KP_FIT_NO ? does_not_fit(&explain, file.path, err) : KP_OK;
}
