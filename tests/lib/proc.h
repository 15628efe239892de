/* SPDX-License-Identifier: MIT
 *
 * tests/lib/proc.h — programs as children of a test: start, wait for a line, end by pid.
 *
 * A child writes stdout and stderr to files in the test's temporary folder, so no pipe can fill
 * up and block it, and dies with the test (PR_SET_PDEATHSIG) whatever ends the test. Every wait has
 * a limit. All failures are Criterion assertions with what the child said. */
#ifndef KP_TESTS_LIB_PROC_H
#define KP_TESTS_LIB_PROC_H

#include "proto/status.h"
#include <sys/types.h>

/* A fresh folder below TMPDIR or /tmp; short enough for an ipc path in it. */
typedef struct kp_dir {
    char path[64];
} kp_dir;

kp_dir kp_dir_make(void);
void kp_dir_remove(const kp_dir *dir); /* with all that is in it */

typedef struct kp_proc {
    pid_t pid; /* 0 once it was waited for */
    char name[32];
    char out_path[128], err_path[128];
    size_t err_from; /* of err_path: what an earlier child of the same name wrote */
} kp_proc;

/* The path of a program of this build: KPLAN_BUILD (build/release if unset) + '/' + name. The
 * result is a value, so that it can stand in an argument list: kp_program("kpland").s. */
typedef struct kp_path {
    char s[256];
} kp_path;
kp_path kp_program(const char *name);

/* Starts argv[0] with argv (ends with NULL). `name` names the output files: NAME.out, NAME.err,
 * appended to by a later child of the same name. `env` entries "KEY=value" (NULL-terminated, or
 * NULL) are added to the environment. stdin is empty. */
kp_proc kp_proc_start(const kp_dir *dir, const char *name, const char *const *argv,
                      const char *const *env);

/* The same for a function of the test: runs it in a fork and ends with its return value. */
kp_proc kp_proc_fork(const kp_dir *dir, const char *name, int (*body)(void *arg), void *arg);

/* Waits until a line of stderr that this child wrote starts with `prefix`; true if it came within
 * timeout_s, false at once if the child ended without it. The rest of the line after the prefix
 * goes to `rest` (may be NULL). */
bool kp_proc_line(const kp_proc *proc, const char *prefix, double timeout_s, char *rest,
                  size_t rest_size);

/* Waits for the end: the exit code, 128 + signal if a signal ended it; -1 if it still runs after
 * timeout_s. */
int kp_proc_wait(kp_proc *proc, double timeout_s);

/* Sends a signal to a child that was not waited for. */
void kp_proc_signal(const kp_proc *proc, int signal);

/* SIGKILL and wait. A zeroed or ended proc is fine. */
void kp_proc_kill(kp_proc *proc);

/* SIGTERM, wait at most 10 s; the exit code as kp_proc_wait, after SIGKILL if it did not end. */
int kp_proc_stop(kp_proc *proc);

/* A whole file as text in malloc memory; "" if there is none. */
char *kp_file_text(const char *path);
void kp_file_write(const char *path, const void *bytes, size_t len);

/* Starts, waits and reads: the exit code; stdout and stderr as malloc texts (NULL: not wanted). */
int kp_proc_run(const kp_dir *dir, const char *const *argv, const char *const *env,
                double timeout_s, char **ret_out, char **ret_err);

/* Sleeps; the only sleep of tests that poll. */
void kp_sleep(double seconds);

#endif
