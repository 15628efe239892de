/* SPDX-License-Identifier: MIT */
#include "planner/serve/job.h"

#define JOB_BYTES_MAX ((size_t)1 << 30)

kp_job *kp_job_new(kp_job_kind kind, uint64_t request, int64_t now_ms)
{
    kp_job *job = calloc(1, sizeof(*job));
    if (!job) return NULL;
    kp_arena_init(&job->arena, JOB_BYTES_MAX);
    job->kind = kind;
    job->request = request;
    job->now_ms = now_ms;
    return job;
}

void kp_job_free(void *arg)
{
    kp_job *job = arg;
    if (!job) return;
    kp_arena_release(&job->arena);
    free(job);
}
