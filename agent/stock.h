/* SPDX-License-Identifier: MIT
 *
 * agent/stock.h — the inventory as the agent last saw it, kept up to date.
 *
 * Looks every few seconds. `version` grows with every change that matters (kp_inventory_settle
 * decides); the hash is what heartbeats carry. When the driver stops answering, the GPUs stay,
 * unhealthy; when a recorded file cannot be read, what it said last stays. One thread. */
#ifndef KP_AGENT_STOCK_H
#define KP_AGENT_STOCK_H

#include "agent/inventory/watch.h"

typedef struct kp_stock {
    kp_watch *watch;
    const char *epoch;  /* the agent's boot epoch, in every node */
    kp_arena arenas[2]; /* the node in use and the one that is being read */
    uint32_t current;
    kp_node node;
    uint32_t version; /* 0: nothing seen yet */
    char hash[17];
    double next_look_s;
    bool troubled; /* the last look failed, and that was told */
} kp_stock;

/* `epoch` must live as long as the stock. Statuses as kp_watch_open. */
kp_status kp_stock_open(const kp_inventory_source *source, const char *program, const char *epoch,
                        kp_stock *ret, kp_err *err);
void kp_stock_release(kp_stock *stock); /* a zeroed one is fine */

/* Looks if it is time. Fails only while nothing was seen yet, as kp_inventory_open, or when memory
 * is out. */
kp_status kp_stock_step(kp_stock *stock, kp_err *err);

/* A descriptor to poll for reading, or -1; and the seconds after which a step is due. */
int kp_stock_fd(const kp_stock *stock);
double kp_stock_wait_s(const kp_stock *stock);

#endif
