/* SPDX-License-Identifier: MIT */
#include "agent/verify/spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { FIRST_FREE_FD = 10, RESULT_BYTES_MAX = 64 << 20 };

int kp_spawn_fd(int fd)
{
    int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (fd >= 0) close(fd);
    return moved;
}

static kp_status io_error(const char *what, int why, kp_err *err)
{
    return kp_fail(err, KP_IO, "%s: %s", what, strerror(why));
}

kp_status kp_spawn_file(const void *bytes, size_t len, int *ret_fd, kp_err *err)
{
    FILE *file = tmpfile();
    if (!file) return io_error("cannot make a temporary file", errno, err);
    bool ok = fwrite(bytes, 1, len, file) == len && fflush(file) == 0;
    int fd = ok ? fcntl(fileno(file), F_DUPFD_CLOEXEC, FIRST_FREE_FD) : -1, why = errno;
    fclose(file);
    if (fd < 0) return io_error("cannot write a temporary file", why, err);
    *ret_fd = fd;
    return KP_OK;
}

/* Default signal actions, nothing blocked: the agent's own settings are not for its ranks. */
static int set_signals(posix_spawnattr_t *attr)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawnattr_setsigmask(attr, &none);
    if (rc == 0) rc = posix_spawnattr_setsigdefault(attr, &all);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return rc;
}

static int spawn(const char *program, char *const *argv, int job_fd, int out_fd, int listen_fd,
                 pid_t *ret)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc != 0) return rc;
    if ((rc = posix_spawnattr_init(&attr)) == 0) {
        rc = set_signals(&attr);
        if (rc == 0) rc = posix_spawn_file_actions_adddup2(&files, job_fd, STDIN_FILENO);
        if (rc == 0) rc = posix_spawn_file_actions_adddup2(&files, out_fd, STDOUT_FILENO);
        if (rc == 0 && listen_fd >= 0)
            rc = posix_spawn_file_actions_adddup2(&files, listen_fd, KP_SPAWN_LISTEN_FD);
        if (rc == 0) rc = posix_spawn(ret, program, &files, &attr, argv, environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

kp_status kp_spawn_start(const char *program, const char *node, uint32_t rank, int job_fd,
                         int listen_fd, kp_spawn *ret, kp_err *err)
{
    char name[] = "kplan-agent", mode[] = "--rank", rank_text[16], node_text[64], listens[2],
         parent[16];
    snprintf(rank_text, sizeof(rank_text), "%u", rank);
    snprintf(node_text, sizeof(node_text), "%s", node);
    snprintf(listens, sizeof(listens), "%d", listen_fd >= 0);
    snprintf(parent, sizeof(parent), "%ld", (long)getpid());
    char *const argv[] = {name, mode, rank_text, node_text, listens, parent, NULL};
    int pipes[2];
    if (pipe(pipes) != 0) return io_error("cannot make a pipe to a rank", errno, err);
    int in = kp_spawn_fd(pipes[0]), out = kp_spawn_fd(pipes[1]);
    int why = in < 0 || out < 0 ? EMFILE : 0;
    if (why == 0 && fcntl(in, F_SETFL, O_NONBLOCK) != 0) why = errno;
    *ret = (kp_spawn){.fd = in, .rank = rank};
    kp_buf_init(&ret->out, RESULT_BYTES_MAX);
    if (why == 0) why = spawn(program, argv, job_fd, out, listen_fd, &ret->pid);
    if (out >= 0) close(out);
    if (why == 0) return KP_OK;
    ret->pid = 0;
    kp_spawn_release(ret);
    return kp_fail(err, KP_IO, "cannot start rank %u as '%s': %s", rank, program, strerror(why));
}

void kp_spawn_step(kp_spawn *s)
{
    char bytes[16384];
    while (s->fd >= 0) {
        ssize_t n = read(s->fd, bytes, sizeof(bytes));
        if (n > 0) {
            kp_buf_add(&s->out, bytes, (size_t)n);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        } else {
            close(s->fd);
            s->fd = -1;
        }
    }
    if (s->pid > 0 && waitpid(s->pid, &s->status, WNOHANG) == s->pid) s->pid = 0;
}

bool kp_spawn_ended(const kp_spawn *s)
{
    return s->pid == 0 && s->fd < 0;
}

void kp_spawn_kill(kp_spawn *s, int signal)
{
    if (s->pid <= 0) return;
    s->killed = true;
    kill(s->pid, signal);
}

void kp_spawn_release(kp_spawn *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        while (waitpid(s->pid, &s->status, 0) < 0 && errno == EINTR) continue;
    }
    if (s->fd > 0) close(s->fd);
    kp_buf_release(&s->out);
    *s = (kp_spawn){.fd = -1};
}
