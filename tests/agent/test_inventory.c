/* SPDX-License-Identifier: MIT */
#include "agent/inventory/inventory.h"
#include "agent/inventory/watch.h"
#include "proto/node.h"
#include "tests/agent/planner.h"
#include <criterion/criterion.h>
#include <poll.h>

TestSuite(inventory);

/* ---- in place: invented and recorded ---- */

static kp_status probe(const kp_inventory_source *source, kp_arena *arena, kp_node *ret,
                       kp_err *err)
{
    kp_inventory *inventory;
    KP_TRY(kp_inventory_open(source, &inventory, err));
    kp_status status = kp_inventory_probe(inventory, arena, ret, err);
    kp_inventory_close(inventory);
    return status;
}

Test(inventory, invented)
{
    static const struct {
        const char *spec;
        uint32_t gpus; /* 0: KP_USAGE */
        const char *name;
        uint64_t total_bytes;
    } rows[] = {
        {"8xH100-80G", 8, "H100-SXM5-80GB", 85520809984},
        {"1xT4-16GB", 1, "T4-16GB", 0},
        {"64xA100-40G", 64, "A100-SXM4-40GB", 42949672960},
        {"0xH100-80G", 0, NULL, 0},
        {"65xH100-80G", 0, NULL, 0},
        {"8xH100-80GG", 0, NULL, 0},
        {"8x", 0, NULL, 0},
        {"H100-80G", 0, NULL, 0},
        {"-1xH100-80G", 0, NULL, 0},
        {"x", 0, NULL, 0},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_node node;
        kp_err err = {0};
        const kp_inventory_source source = {.node = "n1", .invent = rows[i].spec};
        kp_status status = probe(&source, &arena, &node, &err);
        if (!rows[i].gpus) {
            cr_expect(status == KP_USAGE, "row %zu: %d", i, status);
            cr_expect(strstr(err.where, "--invent"), "row %zu: %s", i, err.where);
        } else {
            cr_assert(status == KP_OK, "row %zu: %s", i, err.msg);
            cr_expect(node.n_gpus == rows[i].gpus && node.simulated, "row %zu", i);
            cr_expect_str_eq(node.name, "n1");
            const kp_gpu *last = &node.gpus[node.n_gpus - 1];
            cr_expect_str_eq(last->name, rows[i].name);
            cr_expect(last->index == rows[i].gpus - 1 && last->state == KP_GPU_FREE, "row %zu", i);
            cr_expect(!rows[i].total_bytes || last->total_bytes == rows[i].total_bytes, "row %zu",
                      i);
            cr_expect(last->free_bytes + last->driver_reserved_bytes == last->total_bytes,
                      "row %zu", i);
        }
        kp_arena_release(&arena);
    }
}

Test(inventory, the_same_name_gives_the_same_node)
{
    static const char *const names[] = {"n1", "n1", "n2"};
    char hash[3][17];
    kp_arena arena;
    kp_arena_init(&arena, 0);
    for (size_t i = 0; i < 3; i++) {
        kp_node node;
        const kp_inventory_source source = {.node = names[i], .invent = "4xL40S"};
        cr_assert(probe(&source, &arena, &node, NULL) == KP_OK);
        cr_assert(kp_node_hash(&node, hash[i], NULL) == KP_OK);
    }
    kp_arena_release(&arena);
    cr_expect_str_eq(hash[0], hash[1]);
    cr_expect_str_neq(hash[0], hash[2]);
}

#define GPU(uuid, index, total, reserved, free, state)                                             \
    "{\"uuid\":\"" uuid "\",\"index\":" index                                                      \
    ",\"name\":\"H100-SXM5-80GB\",\"total_bytes\":" total ",\"driver_reserved_bytes\":" reserved   \
    ",\"free_bytes\":" free ",\"state\":\"" state "\"}"
#define NODE(name, gpus)                                                                           \
    "{\"name\":\"" name                                                                            \
    "\",\"state\":\"gone\",\"boot_epoch\":\"x\",\"simulated\":false,\"host\":{},"                  \
    "\"gpus\":[" gpus "]}"
#define NODES(nodes) "{\"schema\":\"kplan.nodes/1\",\"revision\":4,\"nodes\":[" nodes "]}"
#define GOOD         GPU("GPU-a", "0", "1000", "10", "990", "leased")

Test(inventory, recorded)
{
    static const struct {
        const char *text;
        kp_status status;
        const char *says; /* in place, message or hint */
    } rows[] = {
        {NODE("other", GOOD), KP_OK, NULL},
        {NODES(NODE("other", GOOD)), KP_OK, NULL},
        {NODES(NODE("x", "") "," NODE("n1", GOOD) "," NODE("y", "")), KP_OK, NULL},
        {NODES(NODE("x", GOOD) "," NODE("y", GOOD)), KP_INPUT, "none is called 'n1'"},
        {NODES(""), KP_INPUT, "0 nodes"},
        {"", KP_INPUT, "inventory.json"},
        {"{", KP_INPUT, "inventory.json"},
        {"[]", KP_INPUT, "inventory.json"},
        {"{\"nodes\":7}", KP_INPUT, "nodes"},
        {NODE("o", "{\"uuid\":\"a\"}"), KP_INPUT, "gpus[0]"},
        {NODE("o", GPU("a", "-1", "10", "1", "9", "free")), KP_INPUT, "gpus[0].index"},
        {NODE("o", GPU("a", "0", "10", "1", "9", "wild")), KP_INPUT, "gpus[0].state"},
        {NODE("o", GPU("", "0", "10", "1", "9", "free")), KP_INPUT, "no usable UUID"},
        {NODE("o", GPU("a", "0", "0", "0", "0", "free")), KP_INPUT, "no memory"},
        {NODE("o", GPU("a", "0", "10", "11", "9", "free")), KP_INPUT, "more than its"},
        {NODE("o", GPU("a", "0", "10", "1", "11", "free")), KP_INPUT, "more than its"},
        {NODE("o", GOOD "," GPU("GPU-a", "1", "10", "1", "9", "free")), KP_INPUT, "gpus[0]'s too"},
        {NODE("o", GOOD "," GPU("GPU-b", "0", "10", "1", "9", "free")), KP_INPUT, "its index 0"},
    };
    kp_dir dir = kp_dir_make();
    char path[128];
    snprintf(path, sizeof(path), "%s/inventory.json", dir.path);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_node node;
        kp_err err = {0};
        kp_file_write(path, rows[i].text, strlen(rows[i].text));
        const kp_inventory_source source = {.node = "n1", .file = path};
        kp_status status = probe(&source, &arena, &node, &err);
        cr_expect(status == rows[i].status, "row %zu: %d %s", i, status, err.msg);
        char all[1024];
        snprintf(all, sizeof(all), "%s: %s %s", err.where, err.msg, err.hint);
        if (rows[i].says) cr_expect(strstr(all, rows[i].says), "row %zu: %s", i, all);
        if (status == KP_OK) {
            cr_expect_str_eq(node.name, "n1");
            cr_expect(node.simulated && node.state == KP_NODE_READY && !node.boot_epoch, "row %zu",
                      i);
            cr_expect(node.n_gpus == 1 && node.gpus[0].state == KP_GPU_FREE, "row %zu", i);
        }
        kp_arena_release(&arena);
    }
    kp_err err = {0};
    const kp_inventory_source sources[] = {{.node = "n", .file = "/nonexistent/file"},
                                           {.node = "n", .file = dir.path},
                                           {.node = "n", .file = "x", .invent = "1xT4-16GB"}};
    static const char *const says[] = {"No such file", "directory", "exclude each other"};
    for (size_t i = 0; i < KP_LEN(sources); i++) {
        kp_node node;
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_status status = probe(&sources[i], &arena, &node, &err);
        cr_expect(status == (i < 2 ? KP_INPUT : KP_USAGE), "source %zu", i);
        cr_expect(strstr(err.msg, says[i]), "source %zu: %s", i, err.msg);
        kp_arena_release(&arena);
    }
    kp_dir_remove(&dir);
}

Test(inventory, small_moves_of_free_memory_are_no_change)
{
    static const struct {
        uint64_t last, now, want;
    } rows[] = {
        {6400, 6400, 6400}, {6400, 6350, 6400}, {6000, 6099, 6000},
        {6000, 6100, 6100}, {6000, 0, 0},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_gpu gpus[2] = {{.uuid = "a", .total_bytes = 6400, .free_bytes = rows[i].last},
                          {.uuid = "a", .total_bytes = 6400, .free_bytes = rows[i].now}};
        const kp_node last = {.gpus = &gpus[0], .n_gpus = 1};
        kp_node now = {.gpus = &gpus[1], .n_gpus = 1};
        kp_inventory_settle(&last, &now);
        cr_expect(gpus[1].free_bytes == rows[i].want, "row %zu: %d", i, (int)gpus[1].free_bytes);
        gpus[1].uuid = "b";
        gpus[1].free_bytes = rows[i].now;
        kp_inventory_settle(&last, &now);
        cr_expect(gpus[1].free_bytes == rows[i].now, "row %zu: another card", i);
    }
}

Test(inventory, this_host)
{
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_node node;
    kp_schema_init(&kp_schema_node, &node);
    kp_host_probe(&arena, &node.host);
    cr_expect(node.host.hostname && node.host.kernel && !strncmp(node.host.kernel, "Linux ", 6));
    cr_expect(node.host.memory_total_bytes > (64u << 20));
    cr_expect(node.host.memory_free_bytes <= node.host.memory_total_bytes);
    cr_expect(node.host.cpus >= 1 && node.host.cpus < 100000);
    kp_arena_release(&arena);
}

/* ---- NVML, through the stand-in library ---- */

static int dump(const kp_dir *dir, const char *const *env, kp_arena *arena, kp_nodes *ret,
                char **ret_err)
{
    const kp_path agent = kp_program("kplan-agent");
    const char *argv[] = {agent.s, "--dump", "--node", "n1", NULL};
    char *out;
    int code = kp_proc_run(dir, argv, env, 20, &out, ret_err);
    kp_err err = {0};
    if (code == 0)
        cr_expect(kp_schema_read(&kp_schema_nodes, out, strlen(out), arena, ret, &err) == KP_OK,
                  "%s: %s: %s", err.where, err.msg, out);
    free(out);
    return code;
}

Test(inventory, nvml_through_the_stand_in)
{
    static const struct {
        const char *word, *name;
        kp_gpu_state state;
        uint64_t processes, total_bytes;
        uint32_t nvlinks, minor;
    } rows[] = {
        {"fine", "H100-SXM5-80GB", KP_GPU_FREE, 0, 85520809984, 18, 4},
        {"busy", "H100-SXM5-80GB", KP_GPU_BUSY, 2, 85520809984, 18, 5},
        {"lost", "unknown", KP_GPU_UNHEALTHY, UINT64_MAX, 0, UINT32_MAX, UINT32_MAX},
        {"odd", "NVIDIA Unheard Of", KP_GPU_FREE, UINT64_MAX, (uint64_t)10 << 30, UINT32_MAX,
         UINT32_MAX},
        {"mig", "H100-SXM5-80GB", KP_GPU_BUSY, 0, 85520809984, 18, 8},
        {"worn", "H100-SXM5-80GB", KP_GPU_UNHEALTHY, 0, 85520809984, 18, 9},
    };
    kp_dir dir = kp_dir_make();
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_standin s;
    kp_nodes nodes;
    char *says;
    kp_standin_set(&s, "fine,busy,lost,odd,mig,worn");
    int code = dump(&dir, s.env, &arena, &nodes, &says);
    cr_assert(code == 0, "%s", says);
    cr_assert(nodes.n_nodes == 1 && nodes.nodes[0].n_gpus == KP_LEN(rows));
    const kp_node *node = &nodes.nodes[0];
    cr_expect(!node->simulated);
    cr_expect_str_eq(node->name, "n1");
    cr_expect_str_eq(node->host.driver, "570.124.06");
    cr_expect_str_eq(node->host.cuda, "12.8");
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        const kp_gpu *gpu = &node->gpus[i];
        cr_expect_str_eq(gpu->name, rows[i].name, "%s: %s", rows[i].word, gpu->name);
        cr_expect(gpu->state == rows[i].state, "%s", rows[i].word);
        cr_expect(gpu->processes == rows[i].processes, "%s: %d", rows[i].word, (int)gpu->processes);
        cr_expect(gpu->total_bytes == rows[i].total_bytes, "%s", rows[i].word);
        cr_expect(gpu->nvlinks == rows[i].nvlinks && gpu->minor == rows[i].minor, "%s",
                  rows[i].word);
        cr_expect(gpu->index == i, "%s", rows[i].word);
    }
    cr_expect_str_eq(node->gpus[0].pci_bus_id, "00000000:1B:00.0");
    cr_expect_str_eq(node->gpus[0].compute_capability, "9.0");
    cr_expect_str_eq(node->gpus[0].serial, "1650522004332");
    cr_expect(node->gpus[0].driver_reserved_bytes == 600u << 20 && node->gpus[0].sm_count == 132);
    cr_expect(node->gpus[3].driver_reserved_bytes == 256u << 20 && !node->gpus[3].serial);
    cr_expect_str_eq(node->gpus[2].uuid, "lost-n1-2");
    free(says);
    kp_arena_release(&arena);
    kp_dir_remove(&dir);
}

Test(inventory, a_machine_without_a_driver)
{
    static const struct {
        const char *gpus; /* NULL: no library */
        int code;
        const char *says, *hint;
    } rows[] = {
        {NULL, 64, "kplan-agent: no NVIDIA driver on this machine (libnvidia-ml.so.1:", "--invent"},
        {"noinit", 1, "kplan-agent: the NVIDIA driver does not answer: Driver Not Loaded",
         "nvidia-smi"},
    };
    kp_dir dir = kp_dir_make();
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_standin s;
        kp_standin_set(&s, rows[i].gpus ? rows[i].gpus : "");
        static const char *const nothing[] = {"LD_LIBRARY_PATH=", NULL};
        kp_nodes nodes;
        char *says;
        int code = dump(&dir, rows[i].gpus ? s.env : nothing, NULL, &nodes, &says);
        cr_expect(code == rows[i].code, "row %zu: %d", i, code);
        cr_expect(!strncmp(says, rows[i].says, strlen(rows[i].says)), "row %zu: %s", i, says);
        cr_expect(strstr(says, "hint: ") && strstr(says, rows[i].hint), "row %zu: %s", i, says);
        free(says);
    }
    kp_dir_remove(&dir);
}

/* One look through the process that asks the driver. */
static kp_status look(kp_watch *watch, kp_arena *arena, kp_node *ret, kp_err *err)
{
    KP_TRY(kp_watch_ask(watch, err));
    kp_status status = KP_RETRY;
    for (int i = 0; i < 200 && (status = kp_watch_take(watch, arena, ret, err)) == KP_RETRY; i++) {
        struct pollfd fd = {.fd = kp_watch_fd(watch), .events = POLLIN};
        poll(&fd, 1, 100);
    }
    return status;
}

Test(inventory, a_driver_that_fails_takes_only_its_own_process)
{
    static const struct {
        const char *gpus;
        kp_status first, second, third;
        kp_gpu_state state; /* of the GPU at the second look */
    } rows[] = {
        {"fine", KP_OK, KP_OK, KP_OK, KP_GPU_FREE},
        {"late", KP_OK, KP_OK, KP_OK, KP_GPU_UNHEALTHY},
        {"fine,crash", KP_OK, KP_LOST, KP_OK, KP_GPU_FREE},
        {"fine,hang", KP_OK, KP_LOST, KP_OK, KP_GPU_FREE},
        {"noinit", KP_IO, KP_IO, KP_IO, KP_GPU_FREE},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_standin s;
        kp_standin_set(&s, rows[i].gpus);
        setenv("LD_LIBRARY_PATH", s.path + strlen("LD_LIBRARY_PATH="), 1);
        setenv("STANDIN_NVML", rows[i].gpus, 1);
        const kp_inventory_source source = {.node = "n1"};
        kp_watch *watch;
        kp_err err = {0};
        cr_assert(kp_watch_open(&source, kp_program("kplan-agent").s, &watch, &err) == KP_OK, "%s",
                  err.msg);
        cr_expect_str_eq(kp_watch_name(watch), "nvml");
        kp_watch_limits(watch, strstr(rows[i].gpus, "hang") ? 0.3 : 10, 10);
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_node node;
        const kp_status want[] = {rows[i].first, rows[i].second, rows[i].third};
        for (size_t n = 0; n < 3; n++) {
            kp_status status = look(watch, &arena, &node, &err);
            cr_expect(status == want[n], "%s, look %zu: %d %s", rows[i].gpus, n, status, err.msg);
            if (n == 1 && status == KP_OK) {
                cr_expect(node.gpus[0].state == rows[i].state, "%s", rows[i].gpus);
                cr_expect_str_eq(node.gpus[0].uuid, "GPU-00000000-0000-0000-0000-000000000000");
                cr_expect(node.gpus[0].total_bytes == 85520809984, "%s", rows[i].gpus);
            }
        }
        kp_watch_close(watch);
        kp_arena_release(&arena);
    }
}
