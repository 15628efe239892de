/* SPDX-License-Identifier: MIT
 *
 * The agent's program against a planner that stands in the test. */
#include "proto/node.h"
#include "proto/wire.h"
#include "tests/agent/planner.h"
#include "tests/lib/fill.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <zmq.h>

TestSuite(agent);

Test(agent, a_session)
{
    kp_planner p;
    kp_planner_open(&p);
    kp_planner_bind(&p);
    kp_planner_agent(&p, "--invent", "8xH100-80G");
    const kp_wire_hello *hello = kp_planner_hello(&p);
    char hash[17];
    cr_expect_str_eq(hello->node, "n1");
    cr_expect_str_eq(hello->version, KP_VERSION);
    cr_expect_str_eq(hello->inventory.boot_epoch, p.epoch);
    cr_expect(hello->inventory.n_gpus == 8 && hello->inventory.simulated);
    cr_assert(kp_node_hash(&hello->inventory, hash, NULL) == KP_OK);
    kp_planner_welcome(&p, 77, NULL, 0);
    kp_planner_beats(&p, 1, 4, hash);
    cr_expect(kp_proc_line(&p.agent, "ready", 10, NULL, 0));

    kp_wire_resync resync = {.reason = "who knows", .hello = false};
    kp_planner_say(&p, KP_WIRE_RESYNC, NULL, &resync);
    kp_frame frame = kp_planner_expect(&p, KP_WIRE_INVENTORY);
    cr_expect(frame.envelope.seq > 4 && frame.envelope.session == 77);
    cr_expect(kp_schema_equal(&kp_schema_node, frame.payload, &hello->inventory));
    kp_planner_beats(&p, frame.envelope.seq + 1, frame.envelope.seq + 2, hash);

    char before[64];
    memcpy(before, p.epoch, sizeof(before));
    resync.hello = true;
    kp_planner_say(&p, KP_WIRE_RESYNC, NULL, &resync);
    kp_planner_hello(&p);
    cr_expect_str_eq(p.epoch, before);
    kp_planner_welcome(&p, 78, NULL, 0);
    kp_planner_beats(&p, 1, 3, hash);
    cr_expect(kp_link_bad(p.link) == 0);
    kp_proc_signal(&p.agent, SIGTERM);
    cr_expect(kp_proc_wait(&p.agent, 5) == 0);
    kp_planner_close(&p);
}

#define RECORDED(free_bytes, state)                                                                \
    "{\"name\":\"r\",\"state\":\"ready\",\"simulated\":true,\"gpus\":[{\"uuid\":\"GPU-r\","        \
    "\"index\":0,"                                                                                 \
    "\"name\":\"H100-SXM5-80GB\",\"total_bytes\":64000,\"driver_reserved_bytes\":0,\"free_"        \
    "bytes\":" free_bytes ",\"state\":\"" state "\"}]}"

Test(agent, a_changed_inventory_is_told)
{
    static const struct {
        const char *text;
        kp_gpu_state state;
        uint64_t free_bytes;
    } rows[] = {
        {RECORDED("63500", "unhealthy"), KP_GPU_UNHEALTHY, 64000}, /* so little is no change */
        {RECORDED("30000", "free"), KP_GPU_FREE, 30000},
    };
    kp_planner p;
    char path[128], hash[17];
    kp_planner_open(&p);
    kp_planner_bind(&p);
    snprintf(path, sizeof(path), "%s/node.json", p.dir.path);
    kp_file_write(path, RECORDED("64000", "free"), strlen(RECORDED("64000", "free")));
    kp_planner_agent(&p, "--inventory", path);
    kp_planner_hello(&p);
    kp_planner_welcome(&p, 5, NULL, 0);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_file_write(path, rows[i].text, strlen(rows[i].text));
        kp_frame frame = kp_planner_expect(&p, KP_WIRE_INVENTORY);
        const kp_node *node = frame.payload;
        cr_expect(node->n_gpus == 1 && node->gpus[0].state == rows[i].state, "row %zu", i);
        cr_expect(node->gpus[0].free_bytes == rows[i].free_bytes, "row %zu", i);
        cr_assert(kp_node_hash(node, hash, NULL) == KP_OK);
        kp_planner_beats(&p, frame.envelope.seq + 1, frame.envelope.seq + 2, hash);
    }
    kp_file_write(path, "{", 1); /* half written: what it said last stays */
    for (int i = 0; i < 60; i++) kp_planner_expect(&p, KP_WIRE_HEARTBEAT);
    cr_expect(kp_proc_line(&p.agent, "", 1, NULL, 0));
    kp_planner_close(&p);
}

/* The driver's process dies at its second look, and a new one answers again. */
Test(agent, a_driver_in_doubt)
{
    kp_planner p;
    kp_standin s;
    kp_standin_set(&s, "fine,crash");
    setenv("LD_LIBRARY_PATH", strchr(s.path, '=') + 1, 1);
    setenv("STANDIN_NVML", "fine,crash", 1);
    kp_planner_open(&p);
    kp_planner_bind(&p);
    kp_planner_agent(&p, NULL, NULL);
    const kp_wire_hello *hello = kp_planner_hello(&p);
    cr_expect(!hello->inventory.simulated && hello->inventory.n_gpus == 1);
    cr_expect(hello->inventory.gpus[0].state == KP_GPU_FREE);
    kp_planner_welcome(&p, 1, NULL, 0);
    static const kp_gpu_state states[] = {KP_GPU_UNHEALTHY, KP_GPU_FREE};
    for (size_t i = 0; i < KP_LEN(states); i++) {
        kp_frame frame = kp_planner_expect(&p, KP_WIRE_INVENTORY);
        const kp_node *node = frame.payload;
        cr_expect(node->n_gpus == 1 && node->gpus[0].state == states[i], "look %zu", i);
        cr_expect_str_eq(node->gpus[0].uuid, "GPU-00000000-0000-0000-0000-000000000000");
    }
    cr_expect(kp_proc_stop(&p.agent) == 0);
    kp_planner_close(&p);
}

Test(agent, comes_before_the_planner_and_outlives_it)
{
    kp_planner p;
    kp_planner_open(&p);
    kp_planner_agent(&p, "--invent", "1xT4-16GB");
    kp_sleep(1.2);
    kp_planner_bind(&p);
    kp_planner_hello(&p);
    kp_planner_welcome(&p, 1, NULL, 0);
    kp_planner_expect(&p, KP_WIRE_HEARTBEAT);
    char first[64];
    memcpy(first, p.epoch, sizeof(first));
    for (uint64_t session = 2; session < 4; session++) {
        kp_link_close(p.link);
        kp_planner_bind(&p);
        kp_planner_hello(&p);
        cr_expect_str_eq(p.epoch, first);
        kp_planner_welcome(&p, session, NULL, 0);
        kp_frame frame = kp_planner_expect(&p, KP_WIRE_HEARTBEAT);
        cr_expect(frame.envelope.session == session && frame.envelope.seq == 1);
    }
    cr_expect(kp_proc_stop(&p.agent) == 0);
    char *says = kp_file_text(p.agent.err_path), *at = says;
    int told = 0;
    while ((at = strstr(at, "cannot be reached"))) told++, at++;
    cr_expect(told >= 1 && told <= 3, "%d times: %s", told, says);
    free(says);
    kp_planner_close(&p);
}

Test(agent, garbage_from_the_planner)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"", 0},
        {"rubbish", 7},
        {"KP\x02\0\x29\0\0\0\x80", 9},
        {"KP\x01\0\x29\0\0\0\x80", 9},
        {"KP\x01\0\x32\0\0\0\xc1", 9},
        {"KP\x01\0\x32\0\0\0\xdd\xff\xff\xff\xff", 13},
    };
    kp_planner p;
    kp_planner_join(&p);
    void *socket = kp_link_socket(p.link);
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        zmq_send(socket, p.peer.id, p.peer.len, ZMQ_SNDMORE);
        zmq_send(socket, rows[i].bytes, rows[i].len, i == 1 ? ZMQ_SNDMORE : 0);
        if (i == 1) zmq_send(socket, "more", 4, 0);
    }
    const kp_plans plans = {.n_plans = 0};
    kp_planner_say(&p, KP_WIRE_PLANS, NULL, &plans);
    const kp_wire_run_abort abort = {.run = "no such run", .reason = "who knows"};
    kp_planner_say(&p, KP_WIRE_RUN_ABORT, NULL, &abort);
    kp_planner_error(&p, KP_CONFLICT, "not an answer to a greeting");
    for (int i = 0; i < 5; i++) kp_planner_expect(&p, KP_WIRE_HEARTBEAT);
    const kp_wire_welcome odd[] = {{.session = 9, .heartbeat_s = 0},
                                   {.session = 9, .heartbeat_s = -1},
                                   {.session = 9, .heartbeat_s = 1e300}};
    for (size_t i = 0; i < KP_LEN(odd); i++) kp_planner_say(&p, KP_WIRE_WELCOME, NULL, &odd[i]);
    kp_planner_welcome(&p, 10, NULL, 0);
    kp_frame frame;
    do frame = kp_planner_expect(&p, KP_WIRE_HEARTBEAT);
    while (frame.envelope.session != 10);
    cr_expect(kp_proc_stop(&p.agent) == 0);
    kp_planner_close(&p);
}

/* Every message there is, with every field set to something: most mean nothing to an agent, a RUN
 * of nonsense on its own GPU is refused or fails, and it beats on. */
Test(agent, every_message)
{
    static const kp_wire_type types[] = {
#define KP_TYPE(name, number, payload) KP_WIRE_##name,
        KP_WIRE_ROWS(KP_TYPE)
#undef KP_TYPE
    };
    kp_planner p;
    kp_planner_join(&p);
    const kp_wire_resync hello = {.reason = "which GPUs?", .hello = true};
    kp_planner_say(&p, KP_WIRE_RESYNC, NULL, &hello);
    const char *gpu = kp_planner_hello(&p)->inventory.gpus[0].uuid;
    kp_planner_welcome(&p, 7, NULL, 0);
    for (unsigned seed = 0; seed < 8; seed++)
        for (size_t i = 0; i < KP_LEN(types); i++) {
            const kp_schema *schema = kp_wire_schema(types[i]);
            void *value = kp_arena_alloc(&p.arena, 1, schema->size);
            test_fill(schema, value, &p.arena, seed, seed % 2 == 1);
            kp_wire_run *run = types[i] == KP_WIRE_RUN ? value : NULL;
            for (uint32_t k = 0; run && seed > 3 && k < run->n_here; k++) run->ranks[k].gpu = gpu;
            kp_planner_say(&p, types[i], NULL, value);
        }
    kp_planner_welcome(&p, 99, NULL, 0);
    kp_frame frame = {0};
    double deadline_s = kp_now_s() + 20;
    while (kp_now_s() < deadline_s && frame.envelope.session != 99)
        if (kp_link_recv(p.link, 0.5, &p.arena, &frame, NULL) != KP_OK) frame = (kp_frame){0};
    cr_expect(frame.envelope.session == 99);
    cr_expect(kp_proc_stop(&p.agent) == 0);
    kp_planner_close(&p);
}

/* ---- fences ---- */

static void say_run(kp_planner *p, const char *run, const char *gpu, uint64_t fence)
{
    kp_run_rank rank = {.rank = 0, .gpu_index = 0, .gpu = gpu};
    const kp_wire_run msg = {.run = run,
                             .executor = KP_EXEC_HOST,
                             .fence = fence,
                             .deadline_s = 5,
                             .seed = 1,
                             .shape_limit = 64,
                             .token = "t",
                             .n_ranks = 1,
                             .ranks = &rank,
                             .n_here = 1};
    kp_planner_say(p, KP_WIRE_RUN, NULL, &msg);
}

Test(agent, old_fences_are_refused)
{
    kp_planner p;
    kp_planner_open(&p);
    kp_planner_bind(&p);
    kp_planner_agent(&p, "--invent", "2xH100-80G");
    const kp_wire_hello *hello = kp_planner_hello(&p);
    char gpu[2][64];
    for (int i = 0; i < 2; i++) snprintf(gpu[i], 64, "%s", hello->inventory.gpus[i].uuid);
    kp_fence fence = {.gpu = gpu[0], .fence = 5};
    kp_planner_welcome(&p, 1, &fence, 1);
    const char *one = gpu[1];
    const kp_wire_fence raise = {.lease = "ls_1", .fence = 9, .gpus = &one, .n_gpus = 1};
    kp_planner_say(&p, KP_WIRE_FENCE, NULL, &raise);
    const struct {
        const char *gpu;
        uint64_t fence;
        const char *says;
    } rows[] = {
        {gpu[0], 4, "CONFLICT: GPU '"},
        {gpu[0], 0, "fence 0 is older than 5"},
        {gpu[1], 8, "fence 8 is older than 9"},
        {"GPU-of-another-node", 100, "CONFLICT: GPU 'GPU-of-another-node' is not in node 'n1'"},
        {"", 100, "CONFLICT"},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        char run[16];
        snprintf(run, sizeof(run), "run_%zu", i);
        say_run(&p, run, rows[i].gpu, rows[i].fence);
        kp_frame frame = kp_planner_expect(&p, KP_WIRE_RUN_RESULT);
        const kp_wire_run_result *result = frame.payload;
        cr_expect_str_eq(result->run, run);
        cr_assert(result->failure, "row %zu", i);
        cr_expect(strstr(result->failure, rows[i].says), "row %zu: %s", i, result->failure);
    }
    kp_planner_close(&p);
}

/* ---- a planner that refuses ---- */

Test(agent, refusals)
{
    static const struct {
        kp_status code;
        int hellos; /* answered with it before the agent gives up; 0: it never does */
        int exit_code;
    } rows[] = {
        {KP_USAGE, 1, 64},
        {KP_UNSUPPORTED, 1, 3},
        {KP_CONFLICT, 2, 4},
        {KP_RETRY, 0, 0},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_planner p;
        kp_planner_open(&p);
        kp_planner_bind(&p);
        kp_planner_agent(&p, "--invent", "1xT4-16GB");
        int code = -1, hellos = 0;
        double deadline_s = kp_now_s() + 15;
        while (code == -1 && kp_now_s() < deadline_s && (rows[i].hellos || hellos < 2)) {
            kp_frame frame;
            if (kp_link_recv(p.link, 0.2, &p.arena, &frame, NULL) == KP_OK) {
                cr_assert(frame.type == KP_WIRE_HELLO);
                p.peer = frame.peer;
                snprintf(p.hello_id, sizeof(p.hello_id), "%s", frame.envelope.id);
                kp_planner_error(&p, rows[i].code, "the planner does not want you");
                hellos++;
            }
            code = kp_proc_wait(&p.agent, 0);
        }
        if (!rows[i].hellos) code = kp_proc_stop(&p.agent);
        cr_expect(code == rows[i].exit_code, "row %zu: exit %d", i, code);
        cr_expect(hellos >= rows[i].hellos, "row %zu: %d hellos", i, hellos);
        char *says = kp_file_text(p.agent.err_path);
        static const char want[] = "kplan-agent: the planner does not want you";
        if (rows[i].hellos)
            cr_expect(!strncmp(says, want, sizeof(want) - 1), "row %zu: %s", i, says);
        free(says);
        kp_planner_close(&p);
    }
}

/* ---- the command line ---- */

Test(agent, command_line)
{
    static const struct {
        const char *argv[6];
        int code;
        const char *out, *err; /* starts of stdout and stderr; NULL: empty */
    } rows[] = {
        {{"--help"}, 0, "usage: kplan-agent", NULL},
        {{"-h"}, 0, "usage: kplan-agent", NULL},
        {{"--version"}, 0, "kplan-agent " KP_VERSION "\n", NULL},
        {{"--dump", "--invent", "1xT4-16GB", "--node", "x"},
         0,
         "{\"schema\":\"kplan.nodes/1\"",
         NULL},
        {{"--node", "a/b", "--invent", "1xT4-16GB"},
         64,
         NULL,
         "kplan-agent: 'a/b' is not a node's name"},
        {{"--node", "", "--dump"}, 64, NULL, "kplan-agent: --node: the value is empty"},
        {{"--server", "7400", "--invent", "1xT4-16GB"},
         64,
         NULL,
         "kplan-agent: '7400' is not an endpoint"},
        {{"--invent", "8xFOO-80G"}, 64, NULL, "kplan-agent: --invent: "},
        {{"--dump", "--invent", "1xT4-16GB", "--inventory", "f"},
         64,
         NULL,
         "kplan-agent: '--invent' and"},
        {{"--dump", "--inventory", "/nonexistent"},
         65,
         NULL,
         "kplan-agent: /nonexistent: No such file"},
        {{"--inventory", "/nonexistent", "--node", "x"},
         65,
         NULL,
         "kplan-agent: /nonexistent: No such"},
        {{"--bogus"}, 64, NULL, "kplan-agent: unknown option '--bogus'"},
        {{"--json", "--dump", "--inventory", "/nonexistent"},
         65,
         "{\"schema\":\"kplan.error/1\",\"error\":{\"code\":\"INPUT\"",
         "kplan-agent: /nonexistent"},
    };
    kp_dir dir = kp_dir_make();
    const kp_path program = kp_program("kplan-agent");
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        const char *argv[8] = {program.s};
        for (size_t n = 0; n < 6 && rows[i].argv[n]; n++) argv[n + 1] = rows[i].argv[n];
        char *out, *err;
        int code = kp_proc_run(&dir, argv, NULL, 10, &out, &err);
        cr_expect(code == rows[i].code, "row %zu: exit %d", i, code);
        const char *want[] = {rows[i].out, rows[i].err}, *got[] = {out, err};
        for (size_t n = 0; n < 2; n++)
            cr_expect(want[n] ? !strncmp(got[n], want[n], strlen(want[n])) : !*got[n],
                      "row %zu: %s", i, got[n]);
        free(out);
        free(err);
    }
    kp_dir_remove(&dir);
}

Test(agent, interrupted)
{
    kp_planner p;
    kp_planner_join(&p);
    kp_proc_signal(&p.agent, SIGINT);
    cr_expect(kp_proc_wait(&p.agent, 5) == 130);
    kp_planner_close(&p);
}
