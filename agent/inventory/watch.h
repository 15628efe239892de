/* SPDX-License-Identifier: MIT
 *
 * agent/inventory/watch.h — inventories one after the other, without ever blocking the agent.
 *
 * A prober that may hang runs in a process of its own (this program again, `kplan-agent --probe
 * NODE`), which is asked over a pipe and answers over another; a driver that stops answering or
 * crashes takes only that process with it. The others are asked in place. One thread. */
#ifndef KP_AGENT_INVENTORY_WATCH_H
#define KP_AGENT_INVENTORY_WATCH_H

#include "agent/inventory/inventory.h"

typedef struct kp_watch kp_watch;

/* Copies the source. `program` is what is started for a prober that may hang; NULL:
 * /proc/self/exe. Statuses as kp_inventory_open for what is asked in place, else KP_IO. */
kp_status kp_watch_open(const kp_inventory_source *source, const char *program, kp_watch **ret,
                        kp_err *err);
void kp_watch_close(kp_watch *watch); /* NULL is fine */

/* How long a look may take, and the first of a process; 10 and 60 seconds unless told. */
void kp_watch_limits(kp_watch *watch, double look_s, double first_s);

/* Begins a look if none is under way. */
kp_status kp_watch_ask(kp_watch *watch, kp_err *err);

/* To poll for reading while a look is under way; -1: nothing to poll. */
int kp_watch_fd(const kp_watch *watch);

/* The result of the look, in `arena`: KP_RETRY while there is none; KP_LOST when the process died
 * or did not answer within its time (the next ask starts another); else the probe's own failure. */
kp_status kp_watch_take(kp_watch *watch, kp_arena *arena, kp_node *ret, kp_err *err);

/* The prober's name, for logs. */
const char *kp_watch_name(const kp_watch *watch);

/* The main function of the process that looks: argv is {program, "--probe", NODE}. */
int kp_watch_main(int argc, char **argv);

#endif
