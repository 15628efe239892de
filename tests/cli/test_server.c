/* SPDX-License-Identifier: MIT
 *
 * tests/cli/test_server.c — what kplan says when there is no daemon, or something else there. */
#include "tests/lib/proc.h"
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct fake {
    const char *what;
    const char *says; /* sent to whoever connects; NULL: nothing, the connection stays open */
    size_t len;
} fake;

static void say(int peer, const fake *f)
{
    for (size_t at = 0; at < f->len;) {
        ssize_t n = write(peer, f->says + at, f->len - at);
        if (n <= 0) break;
        at += (size_t)n;
    }
    close(peer);
}

/* Speaks something else on a port of its own, which it tells on stderr; ends with the test. */
static int serve(void *arg)
{
    const fake *f = arg;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    alarm(60);
    signal(SIGPIPE, SIG_IGN);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 20) ||
        getsockname(fd, (struct sockaddr *)&address, &len))
        return 1;
    fprintf(stderr, "port %d\n", ntohs(address.sin_port));
    for (int i = 0; i < 1000; i++) {
        int peer = accept(fd, NULL, NULL);
        if (peer >= 0 && f->says) say(peer, f);
    }
    return 0;
}

static void check_answer(const fake *f, const char *endpoint, const kp_dir *dir)
{
    static const char *const commands[][4] = {
        {"get", "nodes", NULL},
        {"lease", "renew", "ls_1", NULL},
        {"submit", "tests/data/models/dense.json", NULL},
    };
    for (size_t i = 0; i < KP_LEN(commands); i++) {
        const char *argv[16] = {NULL};
        size_t n = 0;
        char *out, *err;
        kp_path kplan = kp_program("kplan");
        argv[n++] = kplan.s;
        for (size_t w = 0; commands[i][w]; w++) argv[n++] = commands[i][w];
        argv[n++] = "--server";
        argv[n++] = endpoint;
        argv[n++] = "--timeout";
        argv[n++] = "500ms";
        int code = kp_proc_run(dir, argv, NULL, 20, &out, &err);
        cr_expect(code == 5 || (code == 75 && !f->says), "%s: %s: exit %d: %s", f->what, argv[1], code, err);
        cr_expect(!strncmp(err, "kplan: ", 7) && strstr(err, endpoint), "%s: %s says %s", f->what, argv[1], err);
        cr_expect(!*out, "%s: %s prints %s", f->what, argv[1], out);
        free(out);
        free(err);
    }
}

Test(server, is_something_else)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    /* A ZMTP 3 greeting, and rubbish where the handshake should go on. */
    static const char zmtp[] = "\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                               "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                               "garbage garbage garbage garbage";
    static const fake fakes[] = {
        {"a web server", http, sizeof(http) - 1},
        {"zeros", zmtp + 34, 30},
        {"a broken ZeroMQ", zmtp, sizeof(zmtp) - 1},
        {"hangs up", "", 0},
        {"says nothing", NULL, 0},
    };
    kp_dir dir = kp_dir_make();
    for (size_t i = 0; i < KP_LEN(fakes); i++) {
        fake f = fakes[i];
        char port[16], endpoint[64];
        kp_proc server = kp_proc_fork(&dir, "fake", serve, &f);
        cr_assert(kp_proc_line(&server, "port ", 10, port, sizeof(port)));
        snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%s", port);
        check_answer(&f, endpoint, &dir);
        kp_proc_kill(&server);
        unlink(server.err_path);
    }
    kp_dir_remove(&dir);
}
