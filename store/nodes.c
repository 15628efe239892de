/* SPDX-License-Identifier: MIT
 *
 * Counters, nodes and their GPUs. */
#include "store/sql.h"

kp_status kp_store_revision(kp_store *store, uint64_t *ret, kp_err *err)
{
    sqlite3_stmt *row = NULL;
    const kp_sql_arg args[] = {kp_sql_text(":name", "revision")};
    kp_status status = kp_sql_start(store, KP_SQL_COUNTER_GET, args, KP_LEN(args), err);
    if (status == KP_OK) status = kp_sql_row(store, KP_SQL_COUNTER_GET, &row, err);
    if (status == KP_OK && !row)
        status = kp_fail(err, KP_STORE, "store '%s' has no counter 'revision'", store->path);
    if (status == KP_OK) *ret = (uint64_t)sqlite3_column_int64(row, 0);
    kp_sql_end(store, KP_SQL_COUNTER_GET);
    return status;
}

kp_status kp_revision_raise(kp_store *store, uint64_t revision, kp_err *err)
{
    const kp_sql_arg args[] = {
        kp_sql_text(":name", "revision"),
        kp_sql_int(":value", (int64_t)revision),
    };
    return kp_sql_do(store, KP_SQL_COUNTER_RAISE, args, KP_LEN(args), NULL, err);
}

static kp_status gpu_put(kp_store *store, const char *node, const kp_gpu *gpu, kp_err *err)
{
    const kp_sql_arg args[] = {
        kp_sql_text(":uuid", gpu->uuid),
        kp_sql_text(":node", node),
        kp_sql_int(":index", gpu->index),
        kp_sql_text(":name", gpu->name),
        kp_sql_int(":total", (int64_t)gpu->total_bytes),
        kp_sql_int(":reserved", (int64_t)gpu->driver_reserved_bytes),
    };
    return kp_sql_do(store, KP_SQL_GPU_PUT, args, KP_LEN(args), NULL, err);
}

static kp_status node_row_put(kp_store *store, const kp_node *node, uint64_t revision,
                              int64_t now_ms, kp_err *err)
{
    kp_buf body;
    kp_buf_init(&body, 0);
    kp_status status = kp_schema_print(&kp_schema_node, node, &body, err);
    const kp_sql_arg args[] = {
        kp_sql_text(":name", node->name),
        kp_sql_text(":epoch", node->boot_epoch),
        kp_sql_int(":simulated", node->simulated),
        kp_sql_text(":state", kp_node_state_names[node->state]),
        kp_sql_int(":revision", (int64_t)revision),
        kp_sql_int(":now", now_ms),
        kp_sql_text(":body", kp_buf_text(&body)),
    };
    if (status == KP_OK) status = kp_sql_do(store, KP_SQL_NODE_PUT, args, KP_LEN(args), NULL, err);
    kp_buf_release(&body);
    return status;
}

/* True if the node is on record with this epoch, state and number of GPUs: what changes then is
 * measurements such as free memory, which the audit would only grow by. */
static kp_status node_same(kp_store *store, const kp_node *node, bool *ret, kp_err *err)
{
    const kp_sql_arg args[] = {
        kp_sql_text(":name", node->name),
        kp_sql_text(":epoch", node->boot_epoch),
        kp_sql_text(":state", kp_node_state_names[node->state]),
        kp_sql_int(":gpus", node->n_gpus),
    };
    sqlite3_stmt *row = NULL;
    KP_TRY(kp_sql_start(store, KP_SQL_NODE_SAME, args, KP_LEN(args), err));
    kp_status status = kp_sql_row(store, KP_SQL_NODE_SAME, &row, err);
    *ret = row != NULL;
    kp_sql_end(store, KP_SQL_NODE_SAME);
    return status;
}

static kp_status node_put(kp_store *store, const kp_node *node, uint64_t revision, int64_t now_ms,
                          kp_err *err)
{
    const kp_sql_arg drop[] = {kp_sql_text(":node", node->name)};
    bool same;
    KP_TRY(node_same(store, node, &same, err));
    KP_TRY(node_row_put(store, node, revision, now_ms, err));
    KP_TRY(kp_sql_do(store, KP_SQL_GPUS_DROP, drop, KP_LEN(drop), NULL, err));
    for (uint32_t i = 0; i < node->n_gpus; i++)
        KP_TRY(gpu_put(store, node->name, &node->gpus[i], err));
    KP_TRY(kp_revision_raise(store, revision, err));
    if (same) return KP_OK;
    char detail[96];
    snprintf(detail, sizeof(detail), "revision %llu, %u GPUs, %s", (unsigned long long)revision,
             node->n_gpus, kp_node_state_names[node->state]);
    return kp_store_audit(store, now_ms, "kpland", "node.put", node->name, detail, err);
}

kp_status kp_store_node_put(kp_store *store, const kp_node *node, uint64_t revision, int64_t now_ms,
                            kp_err *err)
{
    KP_TRY(kp_store_begin(store, err));
    return kp_store_end(store, node_put(store, node, revision, now_ms, err), err);
}

static kp_status nodes_read(kp_store *store, kp_arena *arena, kp_nodes *ret, kp_err *err)
{
    size_t n = 0, cap = 0;
    kp_node *nodes = NULL;
    const char *name;
    sqlite3_stmt *row;
    KP_TRY(kp_sql_start(store, KP_SQL_NODES, NULL, 0, err));
    for (;;) {
        KP_TRY(kp_sql_row(store, KP_SQL_NODES, &row, err));
        if (!row) break;
        if (!KP_GROW(arena, nodes, n, cap)) return kp_nomem(err);
        KP_TRY(kp_sql_column(row, 1, arena, &name, err));
        KP_TRY(kp_sql_body(store, row, 0, &kp_schema_node, "node", name, arena, &nodes[n], err));
        n++;
    }
    ret->nodes = nodes;
    ret->n_nodes = (uint32_t)n;
    return KP_OK;
}

kp_status kp_store_nodes(kp_store *store, kp_arena *arena, kp_nodes *ret, kp_err *err)
{
    kp_nodes nodes = {0};
    KP_TRY(kp_store_revision(store, &nodes.revision, err));
    kp_status status = nodes_read(store, arena, &nodes, err);
    kp_sql_end(store, KP_SQL_NODES);
    if (status == KP_OK) *ret = nodes;
    return status;
}
