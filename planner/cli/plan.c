/* SPDX-License-Identifier: MIT */
#include "planner/plan/plan.h"
#include "planner/cli/client.h"
#include "planner/cli/commands.h"
#include "planner/cli/file.h"
#include "planner/cli/model.h"
#include "planner/cli/output.h"
#include "planner/cli/plans.h"
#include "planner/plan/make.h"
#include <ctype.h>
#include <math.h>

#define DEADLINE_S 10.

/* ---- the search in this process ---- */

typedef struct watch {
    double end_s;
    kp_progress progress;
} watch;

static bool ask(void *arg)
{
    watch *w = arg;
    kp_progress_show(&w->progress, "searching", 0, 0);
    return kp_now_s() >= w->end_s;
}

/* "4x8xH100-80G" is an invented cluster, everything else a file. */
static kp_status read_cluster(kp_cli *cli, const kp_gpu_kinds *gpus, kp_nodes *ret, kp_err *err)
{
    const char *cluster = cli->values.cluster, *bytes;
    size_t len, digits = strspn(cluster, "0123456789");
    if (digits && cluster[digits] == 'x') return kp_nodes_invent(cluster, gpus, &cli->arena, ret, err);
    kp_status status = kp_file_read(cli, cluster, &bytes, &len, err);
    if (status) {
        kp_hint(err, "a cluster is NODESxGPUSxKIND, as 4x8xH100-80G, or a kplan.nodes/1 file");
        return status;
    }
    return kp_file_at(kp_schema_read(&kp_schema_nodes, bytes, len, &cli->arena, ret, err), cluster, err);
}

static kp_status plan_here(kp_cli *cli, kp_plan *ret, kp_err *err)
{
    const kp_values *values = &cli->values;
    kp_model_file file;
    kp_gpu_kinds gpus;
    kp_nodes nodes;
    watch w = {.progress = kp_progress_start()};
    KP_TRY(kp_model_load(cli, cli->args[0], &file, err));
    KP_TRY(kp_gpu_table(&cli->arena, &gpus, err));
    KP_TRY(read_cluster(cli, &gpus, &nodes, err));
    double from = kp_now_s(), deadline = values->options.deadline_s;
    w.end_s = from + (isnan(deadline) ? DEADLINE_S : deadline);
    kp_plan_request request = {
        .bytes = file.bytes,
        .len = file.len,
        .name = file.name,
        .options = &values->options,
        .nodes = &nodes,
        .want_nodes = values->nodes,
        .gpus_per_node = values->gpus_per_node,
        .gpus = &gpus,
        .stop = {ask, &w},
    };
    kp_status status = kp_plan_make(&request, &cli->arena, ret, &cli->refusal, err);
    kp_progress_end(&w.progress);
    if (!status && values->timing) ret->search.seconds = kp_now_s() - from;
    return kp_file_at(status, file.path, err);
}

/* ---- the command ---- */

kp_status kp_cmd_plan(kp_cli *cli, kp_err *err)
{
    kp_plan here, *plan = &here;
    bool cluster_said = kp_cli_from(cli, "cluster") == KP_FROM_LINE;
    bool server_said = kp_cli_from(cli, "server") == KP_FROM_LINE;
    if (cluster_said && server_said)
        return kp_fail(err, KP_USAGE, "'--cluster' and '--server' exclude each other");
    if (!cli->values.cluster && !cli->values.server) {
        kp_fail(err, KP_USAGE, "'plan' needs --cluster SPEC or --server ENDPOINT");
        kp_hint(err, "for four nodes of eight H100s say --cluster 4x8xH100-80G");
        return KP_USAGE;
    }
    if (cli->values.cluster && !server_said) KP_TRY(plan_here(cli, &here, err));
    else KP_TRY(kp_plan_there(cli, false, &plan, err));
    if (!cli->values.timing) plan->search.seconds = NAN;
    if (cli->values.json) return kp_cli_json(cli, &kp_schema_plan, plan, err);
    kp_plan_print(plan, &cli->out);
    return KP_OK;
}
