/* SPDX-License-Identifier: MIT
 *
 * agent/inventory/watch_main.c — the process that asks the driver: a byte in, an inventory out. */
#define _GNU_SOURCE /* prctl */
#include "agent/inventory/watch.h"
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

static bool write_all(const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(STDOUT_FILENO, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_answer(kp_status status, const kp_schema *schema, const void *value)
{
    kp_buf body, head;
    kp_buf_init(&body, (size_t)16 << 20);
    kp_buf_init(&head, 64);
    if (kp_schema_pack(schema, value, &body, NULL) != KP_OK) return false;
    uint32_t len = (uint32_t)body.len;
    kp_buf_add(&head, &len, sizeof(len));
    kp_buf_char(&head, (char)status);
    bool ok = !head.failed && write_all(head.data, head.len) && write_all(body.data, body.len);
    kp_buf_release(&head);
    kp_buf_release(&body);
    return ok;
}

static bool send_failure(const kp_err *err)
{
    const kp_error_msg msg = {{.code = kp_status_name(err->code),
                               .message = err->msg,
                               .where = *err->where ? err->where : NULL,
                               .hint = *err->hint ? err->hint : NULL}};
    return send_answer(err->code, &kp_schema_error, &msg);
}

/* One look. The prober is opened by the first that is asked for, and again after a failure. */
static bool look(kp_inventory **inventory, const char *node)
{
    const kp_inventory_source source = {.node = node};
    kp_arena arena;
    kp_arena_init(&arena, (size_t)64 << 20);
    kp_err err = {0};
    kp_node found;
    kp_status status = *inventory ? KP_OK : kp_inventory_open(&source, inventory, &err);
    if (status == KP_OK) status = kp_inventory_probe(*inventory, &arena, &found, &err);
    bool ok = status == KP_OK ? send_answer(KP_OK, &kp_schema_node, &found) : send_failure(&err);
    kp_arena_release(&arena);
    return ok;
}

int kp_watch_main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    kp_inventory *inventory = NULL;
    char byte;
    while (argc > 2 && read(STDIN_FILENO, &byte, 1) == 1)
        if (!look(&inventory, argv[2])) break;
    kp_inventory_close(inventory);
    return 0;
}
