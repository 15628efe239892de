/* SPDX-License-Identifier: MIT
 *
 * Leases in time: they end, and what is left of them is noted for a restart. */
#include "planner/serve/daemon.h"
#include "proto/log.h"

#include <math.h>

#define NOTE_EVERY_S    10.0 /* a restarted daemon gives at most this much more */
#define AGAIN_S         2.0  /* a full disk may have room again */
#define FORGET_EVERY_S  3600.0
#define FORGET_AFTER_MS (24 * 3600 * (int64_t)1000) /* a request's reply is kept for a day */

/* The GPUs stay taken until the store has it: it would refuse any other lease of them. */
static void expire(kp_daemon *d, kp_book_lease *lease)
{
    kp_job *job = kp_job_new(KP_JOB_LEASE, 0, kp_now_unix_ms());
    if (!job) return; /* the next tick tries again */
    job->lease.id = kp_arena_str(&job->arena, lease->id);
    job->lease.action = KP_LEASE_EXPIRE;
    job->lease.actor = "kpland";
    if (!job->lease.id) {
        kp_job_free(job);
        return;
    }
    if (kp_daemon_store(d, job, NULL) == KP_OK) lease->changing++;
}

void kp_lapse_job(kp_daemon *d, kp_job *job)
{
    double now_s = kp_now_s();
    kp_book_lease *lease = kp_book_find(&d->book, job->lease.id);
    /* A conflict: it was released while this was on its way, and its GPUs are free too. */
    bool ended = job->status == KP_OK || job->status == KP_CONFLICT;
    if (!ended && (!lease || lease->again_s == 0)) kp_log_err(KP_LOG_ERROR, &job->err);
    if (lease && ended) {
        kp_log(KP_LOG_INFO, "lease %s of '%s' expired %.1f s ago: %u GPUs are free", lease->id,
               lease->owner, now_s - lease->deadline_s, lease->n_gpus);
        kp_book_remove(&d->book, lease);
    } else if (lease) {
        lease->changing--;
        lease->again_s = now_s + AGAIN_S;
    }
    kp_job_free(job);
}

void kp_lapse_note(kp_daemon *d, double now_s)
{
    kp_job *job = kp_job_new(KP_JOB_NOTE, 0, kp_now_unix_ms());
    if (!job) return;
    if (now_s - d->forgot_s >= FORGET_EVERY_S) {
        d->forgot_s = now_s;
        job->note.forget_before_ms = job->now_ms - FORGET_AFTER_MS;
    }
    job->note.notes = KP_NEW(&job->arena, struct kp_note, d->book.n);
    for (size_t i = 0; job->note.notes && i < d->book.n; i++) {
        const kp_book_lease *lease = d->book.leases[i];
        /* A change on its way sets the time left itself, and this would undo it. */
        if (lease->pending || lease->changing) continue;
        struct kp_note *note = &job->note.notes[job->note.n_notes];
        note->lease = kp_arena_str(&job->arena, lease->id);
        note->remaining_ms = (int64_t)(fmax(lease->deadline_s - now_s, 0) * 1000);
        if (note->lease) job->note.n_notes++;
    }
    if (job->note.n_notes || job->note.forget_before_ms)
        kp_daemon_store(d, job, NULL);
    else
        kp_job_free(job);
}

void kp_lapse_tick(kp_daemon *d, double now_s)
{
    for (kp_book_lease *lease; (lease = kp_book_due(&d->book, now_s));) {
        expire(d, lease);
        if (!lease->changing) break; /* memory or the store's queue: later */
    }
    if (now_s - d->noted_s < NOTE_EVERY_S) return;
    d->noted_s = now_s;
    kp_lapse_note(d, now_s);
}
