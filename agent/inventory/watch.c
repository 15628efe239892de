/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* pipe2 */
#include "agent/inventory/watch.h"
#include "proto/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The first look starts the driver, which takes seconds on a machine with many GPUs. */
#define FIRST_LOOK_S 60.0
#define LOOK_S       10.0

extern char **environ;

struct kp_watch {
    kp_inventory *inventory; /* asked in place; NULL: a process is asked */
    kp_arena arena;
    const char *program, *node;
    pid_t pid; /* 0: none runs */
    int ask_fd, answer_fd;
    bool asked, first;
    double deadline_s, look_s, first_s;
    kp_buf answer;
};

/* ---- the process that looks, from the agent's side ---- */

static void end_process(kp_watch *watch)
{
    if (watch->ask_fd >= 0) close(watch->ask_fd);
    if (watch->answer_fd >= 0) close(watch->answer_fd);
    watch->ask_fd = watch->answer_fd = -1;
    kp_buf_clear(&watch->answer);
    if (watch->pid > 0) {
        kill(watch->pid, SIGKILL);
        /* A process that hangs in the driver cannot be reaped now; then it stays for init. */
        for (int i = 0; i < 50 && waitpid(watch->pid, NULL, WNOHANG) == 0; i++)
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    watch->pid = 0;
}

static int spawn(const kp_watch *watch, int ask_read, int answer_write, pid_t *ret)
{
    char probe[] = "--probe";
    char *argv[] = {(char *)(uintptr_t)watch->program, probe, (char *)(uintptr_t)watch->node, NULL};
    posix_spawn_file_actions_t actions;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc) return rc;
    rc = posix_spawn_file_actions_adddup2(&actions, ask_read, STDIN_FILENO);
    if (!rc) rc = posix_spawn_file_actions_adddup2(&actions, answer_write, STDOUT_FILENO);
    if (!rc) rc = posix_spawn(ret, watch->program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static kp_status start_process(kp_watch *watch, kp_err *err)
{
    int ask[2], answer[2];
    if (pipe2(ask, O_CLOEXEC)) return kp_fail(err, KP_IO, "pipe: %s", strerror(errno));
    if (pipe2(answer, O_CLOEXEC)) {
        close(ask[0]);
        close(ask[1]);
        return kp_fail(err, KP_IO, "pipe: %s", strerror(errno));
    }
    pid_t pid;
    int rc = spawn(watch, ask[0], answer[1], &pid);
    close(ask[0]);
    close(answer[1]);
    watch->ask_fd = ask[1];
    watch->answer_fd = answer[0];
    if (rc) {
        end_process(watch);
        return kp_fail(err, KP_IO, "cannot start '%s --probe': %s", watch->program, strerror(rc));
    }
    watch->pid = pid;
    watch->first = true;
    fcntl(watch->answer_fd, F_SETFL, O_NONBLOCK);
    return KP_OK;
}

/* ---- open, ask ---- */

kp_status kp_watch_open(const kp_inventory_source *source, const char *program, kp_watch **ret,
                        kp_err *err)
{
    kp_watch *watch = calloc(1, sizeof(*watch));
    if (!watch) return kp_nomem(err);
    watch->ask_fd = watch->answer_fd = -1;
    kp_watch_limits(watch, LOOK_S, FIRST_LOOK_S);
    kp_arena_init(&watch->arena, (size_t)1 << 20);
    kp_buf_init(&watch->answer, (size_t)16 << 20);
    watch->program = kp_arena_str(&watch->arena, program ? program : "/proc/self/exe");
    watch->node = kp_arena_str(&watch->arena, source->node);
    kp_status status = watch->program && watch->node ? KP_OK : kp_nomem(err);
    if (status == KP_OK && (source->invent || source->file))
        status = kp_inventory_open(source, &watch->inventory, err);
    if (status != KP_OK) {
        kp_watch_close(watch);
        return status;
    }
    *ret = watch;
    return KP_OK;
}

void kp_watch_close(kp_watch *watch)
{
    if (!watch) return;
    end_process(watch);
    kp_inventory_close(watch->inventory);
    kp_buf_release(&watch->answer);
    kp_arena_release(&watch->arena);
    free(watch);
}

void kp_watch_limits(kp_watch *watch, double look_s, double first_s)
{
    watch->look_s = look_s;
    watch->first_s = first_s;
}

kp_status kp_watch_ask(kp_watch *watch, kp_err *err)
{
    if (watch->asked) return KP_OK;
    if (!watch->inventory) {
        if (!watch->pid) KP_TRY(start_process(watch, err));
        if (write(watch->ask_fd, "?", 1) != 1) {
            end_process(watch);
            return kp_fail(err, KP_LOST, "the process that asks the driver died");
        }
        watch->deadline_s = kp_now_s() + (watch->first ? watch->first_s : watch->look_s);
        watch->first = false;
    }
    watch->asked = true;
    return KP_OK;
}

int kp_watch_fd(const kp_watch *watch)
{
    return watch->asked ? watch->answer_fd : -1;
}

const char *kp_watch_name(const kp_watch *watch)
{
    return watch->inventory ? kp_inventory_prober(watch->inventory)->name : kp_prober_nvml.name;
}

/* ---- the answer: {u32 bytes, u8 status, MessagePack of a node or an error} ---- */

enum { HEAD_BYTES = 5 };

static kp_status lose(kp_watch *watch, const char *why, kp_err *err)
{
    end_process(watch);
    watch->asked = false;
    return kp_fail(err, KP_LOST, "%s", why);
}

static kp_status decode(const kp_buf *answer, kp_arena *arena, kp_node *ret, kp_err *err)
{
    const char *body = answer->data + HEAD_BYTES;
    size_t len = answer->len - HEAD_BYTES;
    if (answer->data[4] == KP_OK)
        return kp_schema_unpack(&kp_schema_node, body, len, arena, ret, err);
    kp_error_msg msg;
    KP_TRY(kp_schema_unpack(&kp_schema_error, body, len, arena, &msg, err));
    kp_fail(err, (kp_status)answer->data[4], "%s", msg.error.message);
    if (msg.error.hint) kp_hint(err, "%s", msg.error.hint);
    if (msg.error.where) kp_err_at(err, "%s", msg.error.where);
    return err ? err->code : (kp_status)answer->data[4];
}

kp_status kp_watch_take(kp_watch *watch, kp_arena *arena, kp_node *ret, kp_err *err)
{
    if (!watch->asked) return kp_fail(err, KP_RETRY, "nobody asked");
    if (watch->inventory) {
        watch->asked = false;
        return kp_inventory_probe(watch->inventory, arena, ret, err);
    }
    char piece[4096];
    ssize_t n;
    while ((n = read(watch->answer_fd, piece, sizeof(piece))) > 0)
        kp_buf_add(&watch->answer, piece, (size_t)n);
    if (n == 0) return lose(watch, "the process that asks the driver died", err);
    if (watch->answer.failed)
        return lose(watch, "the process that asks the driver says too much", err);
    uint32_t len = 0;
    if (watch->answer.len >= HEAD_BYTES) memcpy(&len, watch->answer.data, sizeof(len));
    if (watch->answer.len < HEAD_BYTES || watch->answer.len - HEAD_BYTES < len) {
        if (kp_now_s() < watch->deadline_s) return kp_fail(err, KP_RETRY, "no answer yet");
        return lose(watch, "the driver does not answer", err);
    }
    watch->asked = false;
    kp_status status = decode(&watch->answer, arena, ret, err);
    kp_buf_clear(&watch->answer);
    return status;
}
