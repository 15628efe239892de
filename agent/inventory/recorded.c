/* SPDX-License-Identifier: MIT
 *
 * agent/inventory/recorded.c — a machine as a file tells it: what `kplan-agent --dump` or `kplan
 * get nodes --json` wrote, or one node's object. The file is read at every probe, so that editing
 * it is a change of the machine. */
#include "agent/inventory/inventory.h"
#include "proto/json.h"
#include <errno.h>
#include <sys/stat.h>

#define FILE_BYTES_MAX ((size_t)16 << 20)

static void recorded_close(void *state)
{
    free(state);
}

static kp_status recorded_open(const kp_inventory_source *source, void **ret_state, kp_err *err)
{
    size_t size = strlen(source->file) + 1;
    char *path = malloc(size);
    if (!path) return kp_nomem(err);
    memcpy(path, source->file, size);
    *ret_state = path;
    return KP_OK;
}

static kp_status read_file(const char *path, kp_buf *out, kp_err *err)
{
    struct stat info;
    FILE *file = fopen(path, "re");
    if (!file) return kp_fail(err, KP_INPUT, "%s", strerror(errno));
    kp_status status = KP_OK;
    if (fstat(fileno(file), &info) == 0 && S_ISDIR(info.st_mode))
        status = kp_fail(err, KP_INPUT, "is a directory, not a file");
    char piece[16384];
    size_t n;
    while (status == KP_OK && (n = fread(piece, 1, sizeof(piece), file)) > 0) {
        kp_buf_add(out, piece, n);
        if (out->failed)
            status = kp_fail(err, KP_INPUT, "is larger than %s", kp_size_text(FILE_BYTES_MAX).s);
    }
    if (status == KP_OK && ferror(file)) status = kp_fail(err, KP_INPUT, "cannot be read");
    fclose(file);
    return status;
}

/* The node of a cluster's file: the only one, or the one with our name. */
static kp_status pick_node(const kp_nodes *nodes, const char *name, kp_node *ret, kp_err *err)
{
    for (uint32_t i = 0; i < nodes->n_nodes; i++)
        if (nodes->n_nodes == 1 || (nodes->nodes[i].name && !strcmp(nodes->nodes[i].name, name))) {
            *ret = nodes->nodes[i];
            return KP_OK;
        }
    kp_fail(err, KP_INPUT, "has %u nodes and none is called '%s'", nodes->n_nodes, name);
    if (nodes->n_nodes)
        kp_hint(err, "name one with --node, for example '%s'", nodes->nodes[0].name);
    return KP_INPUT;
}

static kp_status read_node(const json_t *json, const char *name, kp_arena *arena, kp_node *ret,
                           kp_err *err)
{
    if (!json_object_get(json, "nodes"))
        return kp_schema_from_json(&kp_schema_node, json, arena, ret, err);
    kp_nodes nodes;
    KP_TRY(kp_schema_from_json(&kp_schema_nodes, json, arena, &nodes, err));
    return pick_node(&nodes, name, ret, err);
}

static kp_status recorded_probe(void *state, kp_arena *arena, kp_node *ret, kp_err *err)
{
    const char *path = state, *name = ret->name;
    kp_buf text;
    kp_buf_init(&text, FILE_BYTES_MAX);
    json_t *json = NULL;
    kp_node node;
    kp_status status = read_file(path, &text, err);
    if (status == KP_OK) status = kp_json_parse(kp_buf_text(&text), text.len, &json, err);
    if (status == KP_OK) status = read_node(json, name, arena, &node, err);
    json_decref(json);
    kp_buf_release(&text);
    if (status != KP_OK) {
        kp_err_at(err, "%s", path);
        return status;
    }
    node.name = name;
    node.simulated = true;
    node.boot_epoch = NULL;
    for (uint32_t i = 0; i < node.n_gpus; i++) {
        node.gpus[i].node = NULL;
        /* Whose lease it was when it was recorded says nothing here. */
        if (node.gpus[i].state == KP_GPU_LEASED) node.gpus[i].state = KP_GPU_FREE;
    }
    *ret = node;
    return KP_OK;
}

const kp_prober kp_prober_recorded = {"recorded", false, recorded_open, recorded_probe,
                                      recorded_close};
