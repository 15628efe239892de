/* SPDX-License-Identifier: MIT */
#include "planner/serve/actor.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <zmq.h>

struct kp_actor {
    void *near, *far; /* the loop's end and the thread's */
    pthread_t thread;
    bool running;
    kp_actor_body *body;
    void *arg;
};

static void *thread_main(void *arg)
{
    kp_actor *actor = arg;
    actor->body(actor->far, actor->arg);
    return NULL;
}

static bool make_pair(void *zmq, const char *name, kp_actor *actor)
{
    char address[64];
    int unbounded = 0;
    snprintf(address, sizeof(address), "inproc://%s-%p", name, (void *)actor);
    actor->near = zmq_socket(zmq, ZMQ_PAIR);
    actor->far = zmq_socket(zmq, ZMQ_PAIR);
    void *ends[] = {actor->near, actor->far};
    for (size_t i = 0; i < KP_LEN(ends); i++)
        if (!ends[i] || zmq_setsockopt(ends[i], ZMQ_SNDHWM, &unbounded, sizeof(unbounded)) ||
            zmq_setsockopt(ends[i], ZMQ_RCVHWM, &unbounded, sizeof(unbounded)) ||
            zmq_setsockopt(ends[i], ZMQ_LINGER, &unbounded, sizeof(unbounded)))
            return false;
    return zmq_bind(actor->near, address) == 0 && zmq_connect(actor->far, address) == 0;
}

kp_status kp_actor_open(void *zmq, const char *name, kp_actor_body *body, void *arg, kp_actor **ret,
                        kp_err *err)
{
    kp_actor *actor = calloc(1, sizeof(*actor));
    if (!actor) return kp_nomem(err);
    actor->body = body;
    actor->arg = arg;
    int failed = make_pair(zmq, name, actor) ? 0 : errno;
    if (!failed) failed = pthread_create(&actor->thread, NULL, thread_main, actor);
    actor->running = !failed;
    if (failed) {
        kp_actor_close(actor, NULL);
        return kp_fail(err, KP_INTERNAL, "starting the %s thread: %s", name, zmq_strerror(failed));
    }
    *ret = actor;
    return KP_OK;
}

void kp_actor_close(kp_actor *actor, void (*drop)(void *job))
{
    if (!actor) return;
    if (actor->running) {
        void *end = NULL;
        while (zmq_send(actor->near, &end, sizeof(end), 0) < 0 && errno == EINTR) continue;
        pthread_join(actor->thread, NULL);
        for (void *job; (job = kp_actor_take(actor));)
            if (drop) drop(job);
    }
    if (actor->near) zmq_close(actor->near);
    if (actor->far) zmq_close(actor->far);
    free(actor);
}

void *kp_actor_socket(kp_actor *actor)
{
    return actor->near;
}

bool kp_actor_send(kp_actor *actor, void *job)
{
    assert(job);
    return zmq_send(actor->near, &job, sizeof(job), ZMQ_DONTWAIT) == sizeof(job);
}

void *kp_actor_take(kp_actor *actor)
{
    void *job = NULL;
    int n;
    do n = zmq_recv(actor->near, &job, sizeof(job), ZMQ_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n == sizeof(job) ? job : NULL;
}

void *kp_actor_next(void *end, bool wait, bool *ret_ended)
{
    void *job = NULL;
    int n;
    do n = zmq_recv(end, &job, sizeof(job), wait ? 0 : ZMQ_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == sizeof(job) && !job) *ret_ended = true;
    if (n < 0 && wait) *ret_ended = true; /* the context is gone */
    return n == sizeof(job) ? job : NULL;
}

void kp_actor_reply(void *end, void *job)
{
    while (zmq_send(end, &job, sizeof(job), 0) < 0 && errno == EINTR) continue;
}
