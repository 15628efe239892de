/* SPDX-License-Identifier: MIT */
#include "tests/lib/proc.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void kp_sleep(double seconds)
{
    struct timespec pause = {.tv_sec = (time_t)seconds};
    pause.tv_nsec = (long)((seconds - (double)pause.tv_sec) * 1e9);
    nanosleep(&pause, NULL);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

kp_dir kp_dir_make(void)
{
    kp_dir dir;
    const char *tmp = getenv("TMPDIR");
    if (!tmp || strlen(tmp) > 32) tmp = "/tmp";
    snprintf(dir.path, sizeof(dir.path), "%s/kplan.XXXXXX", tmp);
    cr_assert(mkdtemp(dir.path), "mkdtemp %s: %s", dir.path, strerror(errno));
    return dir;
}

static void remove_at(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0) close(fd);
        unlinkat(parent, name, 0);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) remove_at(fd, entry->d_name);
    closedir(dir);
    unlinkat(parent, name, AT_REMOVEDIR);
}

void kp_dir_remove(const kp_dir *dir)
{
    remove_at(AT_FDCWD, dir->path);
}

kp_path kp_program(const char *name)
{
    kp_path path;
    const char *build = getenv("KPLAN_BUILD");
    snprintf(path.s, sizeof(path.s), "%s/%s", build ? build : "build/release", name);
    return path;
}

/* In the child: output to files, input empty, gone when the test is gone. */
static void child_setup(const kp_proc *proc, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(126);
    int in = open("/dev/null", O_RDONLY);
    int out = open(proc->out_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int err = open(proc->err_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (in < 0 || out < 0 || err < 0) _exit(126);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    for (int fd = 3; fd < 63; fd++) close(fd);
}

static kp_proc proc_fork(const kp_dir *dir, const char *name, bool *ret_child)
{
    kp_proc proc = {0};
    snprintf(proc.name, sizeof(proc.name), "%s", name);
    snprintf(proc.out_path, sizeof(proc.out_path), "%s/%s.out", dir->path, name);
    snprintf(proc.err_path, sizeof(proc.err_path), "%s/%s.err", dir->path, name);
    struct stat info;
    if (stat(proc.err_path, &info) == 0) proc.err_from = (size_t)info.st_size;
    fflush(NULL);
    pid_t parent = getpid();
    proc.pid = fork();
    cr_assert(proc.pid >= 0, "fork: %s", strerror(errno));
    *ret_child = proc.pid == 0;
    if (*ret_child) child_setup(&proc, parent);
    return proc;
}

kp_proc kp_proc_start(const kp_dir *dir, const char *name, const char *const *argv,
                      const char *const *env)
{
    bool child;
    kp_proc proc = proc_fork(dir, name, &child);
    if (!child) return proc;
    for (; env && *env; env++) {
        const char *value = strchr(*env, '=');
        char key[64];
        if (!value || (size_t)(value - *env) >= sizeof(key)) _exit(126);
        memcpy(key, *env, (size_t)(value - *env));
        key[value - *env] = 0;
        setenv(key, value + 1, 1);
    }
    char *args[64];
    size_t n = 0;
    for (; argv[n] && n + 1 < KP_LEN(args); n++) args[n] = strdup(argv[n]);
    args[n] = NULL;
    execvp(args[0], args);
    fprintf(stderr, "cannot start %s: %s\n", args[0], strerror(errno));
    _exit(127);
}

kp_proc kp_proc_fork(const kp_dir *dir, const char *name, int (*body)(void *arg), void *arg)
{
    bool child;
    kp_proc proc = proc_fork(dir, name, &child);
    if (child) _exit(body(arg));
    return proc;
}

char *kp_file_text(const char *path)
{
    size_t len = 0, cap = 4096;
    char *text = malloc(cap);
    cr_assert(text);
    FILE *file = fopen(path, "rb");
    for (size_t n; file && (n = fread(text + len, 1, cap - len - 1, file)) > 0;) {
        len += n;
        if (cap - len > 1) continue;
        text = realloc(text, cap *= 2);
        cr_assert(text);
    }
    if (file) fclose(file);
    text[len] = 0;
    return text;
}

void kp_file_write(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    cr_assert(file, "%s: %s", path, strerror(errno));
    cr_assert_eq(fwrite(bytes, 1, len, file), len);
    cr_assert_eq(fclose(file), 0);
}

/* The last line of the text that starts with prefix and is whole. */
static const char *find_line(const char *text, const char *prefix)
{
    const char *found = NULL;
    for (const char *line = text; line && *line;) {
        const char *end = strchr(line, '\n');
        if (end && !strncmp(line, prefix, strlen(prefix))) found = line;
        line = end ? end + 1 : NULL;
    }
    return found;
}

/* Without taking its exit status. */
static bool has_ended(const kp_proc *proc)
{
    siginfo_t info = {0};
    return proc->pid <= 0 ||
           waitid(P_PID, (id_t)proc->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid != 0;
}

bool kp_proc_line(const kp_proc *proc, const char *prefix, double timeout_s, char *rest,
                  size_t rest_size)
{
    for (double end = now_s() + timeout_s;;) {
        bool ended = has_ended(proc); /* before reading: what it wrote last is then there */
        char *text = kp_file_text(proc->err_path);
        const char *line =
            strlen(text) > proc->err_from ? find_line(text + proc->err_from, prefix) : NULL;
        if (line && rest) {
            line += strlen(prefix);
            snprintf(rest, rest_size, "%.*s", (int)strcspn(line, "\n"), line);
        }
        free(text);
        if (line) return true;
        if (ended || now_s() > end) return false;
        kp_sleep(0.005);
    }
}

int kp_proc_wait(kp_proc *proc, double timeout_s)
{
    cr_assert(proc->pid > 0, "%s was waited for already", proc->name);
    for (double end = now_s() + timeout_s;;) {
        int status;
        pid_t pid = waitpid(proc->pid, &status, WNOHANG);
        cr_assert(pid >= 0, "waitpid %s: %s", proc->name, strerror(errno));
        if (pid > 0) {
            proc->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        if (now_s() > end) return -1;
        kp_sleep(0.002);
    }
}

void kp_proc_signal(const kp_proc *proc, int signal)
{
    if (proc->pid > 0) kill(proc->pid, signal);
}

void kp_proc_kill(kp_proc *proc)
{
    if (proc->pid <= 0) return;
    kill(proc->pid, SIGKILL);
    cr_assert_neq(kp_proc_wait(proc, 10), -1, "%s outlives SIGKILL", proc->name);
}

int kp_proc_stop(kp_proc *proc)
{
    if (proc->pid <= 0) return 0;
    kill(proc->pid, SIGTERM);
    int code = kp_proc_wait(proc, 10);
    if (code == -1) kp_proc_kill(proc);
    return code;
}

int kp_proc_run(const kp_dir *dir, const char *const *argv, const char *const *env,
                double timeout_s, char **ret_out, char **ret_err)
{
    kp_proc proc = kp_proc_start(dir, "run", argv, env);
    int code = kp_proc_wait(&proc, timeout_s);
    kp_proc_kill(&proc);
    if (ret_out) *ret_out = kp_file_text(proc.out_path);
    if (ret_err) *ret_err = kp_file_text(proc.err_path);
    unlink(proc.out_path);
    unlink(proc.err_path);
    return code;
}
