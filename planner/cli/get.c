/* SPDX-License-Identifier: MIT
 *
 * planner/cli/get.c — what the daemon knows, as tables. */
#include "planner/cli/client.h"
#include "planner/cli/commands.h"
#include "planner/cli/output.h"
#include "planner/cli/plans.h"
#include "planner/cli/table.h"
#include "planner/plan/plan.h"

typedef kp_status print_fn(kp_cli *cli, const void *value, kp_err *err);

static const char *memory_text(const kp_gpu *gpu, kp_short *ret)
{
    *ret = kp_gib_text(gpu->total_bytes);
    return gpu->total_bytes == UINT64_MAX ? NULL : ret->s;
}

static kp_status print_nodes(kp_cli *cli, const void *value, kp_err *err)
{
    static const kp_column columns[] = {
        {.title = "node", .shrink = true}, {.title = "state"},
        {.title = "GPUs", .right = true},  {.title = "free", .right = true},
        {.title = "kind", .shrink = true}, {.title = "GiB", .right = true},
        {.title = "from"},
    };
    const kp_nodes *nodes = value;
    kp_table table;
    kp_table_init(&table, columns, KP_LEN(columns), &cli->arena);
    for (uint32_t i = 0; i < nodes->n_nodes; i++) {
        const kp_node *node = &nodes->nodes[i];
        uint32_t n_free = 0;
        kp_short gib;
        for (uint32_t g = 0; g < node->n_gpus; g++)
            n_free += node->state == KP_NODE_READY && node->gpus[g].state == KP_GPU_FREE;
        kp_table_cell(&table, node->name);
        kp_table_cell(&table, kp_node_state_names[node->state]);
        kp_table_fmt(&table, "%u", node->n_gpus);
        kp_table_fmt(&table, "%u", n_free);
        kp_table_cell(&table, node->n_gpus ? node->gpus[0].name : NULL);
        kp_table_cell(&table, node->n_gpus ? memory_text(&node->gpus[0], &gib) : NULL);
        kp_table_cell(&table, node->simulated ? "invented" : "probed");
    }
    return kp_table_print(&table, kp_cli_width(), &cli->out, err);
}

static kp_status print_gpus(kp_cli *cli, const void *value, kp_err *err)
{
    static const kp_column columns[] = {
        {.title = "node", .shrink = true}, {.title = "GPU", .right = true},
        {.title = "kind", .shrink = true}, {.title = "GiB", .right = true},
        {.title = "free", .right = true},  {.title = "state"},
        {.title = "uuid", .shrink = true},
    };
    const kp_gpus *gpus = value;
    kp_table table;
    kp_table_init(&table, columns, KP_LEN(columns), &cli->arena);
    for (uint32_t i = 0; i < gpus->n_gpus; i++) {
        const kp_gpu *gpu = &gpus->gpus[i];
        kp_short gib;
        kp_table_cell(&table, gpu->node);
        kp_table_fmt(&table, "%u", gpu->index);
        kp_table_cell(&table, gpu->name);
        kp_table_cell(&table, memory_text(gpu, &gib));
        kp_table_cell(&table, gpu->free_bytes == UINT64_MAX ? NULL : kp_gib_text(gpu->free_bytes).s);
        kp_table_cell(&table, kp_gpu_state_names[gpu->state]);
        kp_table_cell(&table, gpu->uuid);
    }
    return kp_table_print(&table, kp_cli_width(), &cli->out, err);
}

static kp_status print_plans(kp_cli *cli, const void *value, kp_err *err)
{
    static const kp_column columns[] = {
        {.title = "plan"},  {.title = "created"},
        {.title = "model", .shrink = true}, {.title = "cut"},
        {.title = "peak GiB", .right = true}, {.title = "step", .right = true},
        {.title = "state"},
    };
    const kp_plans *plans = value;
    kp_table table;
    kp_table_init(&table, columns, KP_LEN(columns), &cli->arena);
    for (uint32_t i = 0; i < plans->n_plans; i++) {
        const kp_plan_row *plan = &plans->plans[i];
        const kp_strategy *s = &plan->strategy;
        kp_table_cell(&table, plan->id);
        kp_table_cell(&table, plan->created);
        kp_table_cell(&table, plan->model);
        kp_table_fmt(&table, "dp=%u tp=%u pp=%u zero=%u", s->dp, s->tp, s->pp, s->zero);
        kp_table_cell(&table, kp_gib_text(plan->peak_bytes).s);
        kp_table_cell(&table, kp_seconds_text(plan->seconds).s);
        kp_table_cell(&table, plan->state);
    }
    return kp_table_print(&table, kp_cli_width(), &cli->out, err);
}

static kp_status print_leases(kp_cli *cli, const void *value, kp_err *err)
{
    static const kp_column columns[] = {
        {.title = "lease"},  {.title = "plan"},
        {.title = "owner", .shrink = true}, {.title = "GPUs", .right = true},
        {.title = "fence", .right = true},  {.title = "state"},
        {.title = "expires"},
    };
    const kp_leases *leases = value;
    kp_table table;
    kp_table_init(&table, columns, KP_LEN(columns), &cli->arena);
    for (uint32_t i = 0; i < leases->n_leases; i++) {
        const kp_lease *lease = &leases->leases[i];
        kp_table_cell(&table, lease->id);
        kp_table_cell(&table, lease->plan);
        kp_table_cell(&table, lease->owner);
        kp_table_fmt(&table, "%u", lease->n_gpus);
        kp_table_fmt(&table, "%llu", (unsigned long long)lease->fence);
        kp_table_cell(&table, kp_lease_state_names[lease->state]);
        kp_table_cell(&table, lease->expires);
    }
    return kp_table_print(&table, kp_cli_width(), &cli->out, err);
}

static const struct {
    const char *what;
    kp_wire_type reply;
    const kp_schema *schema;
    print_fn *print;
} things[] = {
    {"nodes", KP_WIRE_NODES, &kp_schema_nodes, print_nodes},
    {"gpus", KP_WIRE_GPUS, &kp_schema_gpus, print_gpus},
    {"plans", KP_WIRE_PLANS, &kp_schema_plans, print_plans},
    {"leases", KP_WIRE_LEASES, &kp_schema_leases, print_leases},
};

kp_status kp_cmd_get(kp_cli *cli, kp_err *err)
{
    const char *names[KP_LEN(things)];
    void *reply;
    for (size_t i = 0; i < KP_LEN(things); i++) {
        names[i] = things[i].what;
        if (strcmp(cli->args[0], things[i].what)) continue;
        kp_wire_get request = {.what = things[i].what};
        KP_TRY(kp_cli_call(cli, KP_WIRE_GET, &request, things[i].reply, &reply, err));
        if (cli->values.json) return kp_cli_json(cli, things[i].schema, reply, err);
        return things[i].print(cli, reply, err);
    }
    const char *near = kp_nearest(cli->args[0], names, KP_LEN(names));
    kp_fail(err, KP_USAGE, "'get' shows nodes, gpus, plans or leases, not '%.60s'", cli->args[0]);
    if (near) kp_hint(err, "did you mean '%s'?", near);
    return KP_USAGE;
}

kp_status kp_cmd_show(kp_cli *cli, kp_err *err)
{
    kp_plan *plan;
    void *reply;
    if (kp_is_plan_id(cli->args[0])) {
        kp_wire_get request = {.what = "plan", .id = cli->args[0]};
        KP_TRY(kp_cli_call(cli, KP_WIRE_GET, &request, KP_WIRE_PLAN, &reply, err));
        plan = reply;
        KP_TRY(kp_plan_check(plan, err));
    } else {
        KP_TRY(kp_plan_file(cli, cli->args[0], &plan, err));
    }
    if (cli->values.json) return kp_cli_json(cli, &kp_schema_plan, plan, err);
    kp_plan_print(plan, &cli->out);
    return KP_OK;
}
