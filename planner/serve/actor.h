/* SPDX-License-Identifier: MIT
 *
 * planner/serve/actor.h — a thread that takes jobs and gives them back.
 *
 * A job is a heap object whose only owner is whoever has it: the loop builds it, sends it, and does
 * not touch it until it comes back. Jobs travel as pointers over an inproc PAIR, in order, so that
 * no memory is shared at any moment and nothing is locked. The loop bounds how many are out. */
#ifndef KP_PLANNER_SERVE_ACTOR_H
#define KP_PLANNER_SERVE_ACTOR_H

#include "proto/arena.h"

typedef struct kp_actor kp_actor;

/* The thread's whole life: takes jobs with kp_actor_next until there is none any more. `end` is the
 * thread's end of the pair, `arg` what was given at open. */
typedef void kp_actor_body(void *end, void *arg);

/* Starts the thread. KP_INTERNAL if a socket or thread cannot be made. */
kp_status kp_actor_open(void *zmq, const char *name, kp_actor_body *body, void *arg, kp_actor **ret,
                        kp_err *err);
/* Tells the thread to end after the jobs it was sent, waits for it, and closes. Jobs that came back
 * and were not taken are given to `drop`. NULL is fine. */
void kp_actor_close(kp_actor *actor, void (*drop)(void *job));

/* For zmq_poll. */
void *kp_actor_socket(kp_actor *actor);
/* Gives a job away; it is the thread's from now on. False: it could not be sent and is still ours.
 */
bool kp_actor_send(kp_actor *actor, void *job);
/* The next job that came back; NULL if none is there. */
void *kp_actor_take(kp_actor *actor);

/* In the thread: the next job; wait false: NULL if none is there. NULL after wait: the end. */
void *kp_actor_next(void *end, bool wait, bool *ret_ended);
void kp_actor_reply(void *end, void *job);

#endif
