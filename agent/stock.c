/* SPDX-License-Identifier: MIT */
#include "agent/stock.h"
#include "proto/clock.h"
#include "proto/log.h"
#include "proto/node.h"

#define LOOK_EVERY_S 2.0
#define LOOK_BYTES   ((size_t)64 << 20)

kp_status kp_stock_open(const kp_inventory_source *source, const char *program, const char *epoch,
                        kp_stock *ret, kp_err *err)
{
    kp_stock stock = {.epoch = epoch};
    KP_TRY(kp_watch_open(source, program, &stock.watch, err));
    kp_arena_init(&stock.arenas[0], LOOK_BYTES);
    kp_arena_init(&stock.arenas[1], LOOK_BYTES);
    *ret = stock;
    return KP_OK;
}

void kp_stock_release(kp_stock *stock)
{
    kp_watch_close(stock->watch);
    kp_arena_release(&stock->arenas[0]);
    kp_arena_release(&stock->arenas[1]);
    *stock = (kp_stock){0};
}

int kp_stock_fd(const kp_stock *stock)
{
    return kp_watch_fd(stock->watch);
}

double kp_stock_wait_s(const kp_stock *stock)
{
    double wait_s = stock->next_look_s - kp_now_s();
    return wait_s > 0 ? wait_s : 0;
}

/* Takes a node that stands in the other arena, if it differs from the one in use. */
static kp_status take(kp_stock *stock, kp_node *seen, kp_err *err)
{
    char hash[17];
    seen->boot_epoch = stock->epoch;
    if (stock->version) kp_inventory_settle(&stock->node, seen);
    KP_TRY(kp_node_hash(seen, hash, err));
    if (stock->version && !strcmp(hash, stock->hash)) return KP_OK;
    memcpy(stock->hash, hash, sizeof(hash));
    stock->node = *seen;
    stock->current = 1 - stock->current;
    stock->version++;
    if (stock->version > 1) kp_log(KP_LOG_INFO, "the inventory changed");
    return KP_OK;
}

/* Nobody knows how the GPUs are: they are kept, but not offered. */
static kp_status doubt(kp_stock *stock, kp_err *err)
{
    kp_arena *arena = &stock->arenas[1 - stock->current];
    kp_node node = stock->node;
    kp_buf packed;
    kp_buf_init(&packed, LOOK_BYTES);
    kp_status status = kp_schema_pack(&kp_schema_node, &stock->node, &packed, err);
    if (status == KP_OK)
        status = kp_schema_unpack(&kp_schema_node, packed.data, packed.len, arena, &node, err);
    kp_buf_release(&packed);
    if (status != KP_OK) return status;
    for (uint32_t i = 0; i < node.n_gpus; i++) node.gpus[i].state = KP_GPU_UNHEALTHY;
    return take(stock, &node, err);
}

static kp_status look_failed(kp_stock *stock, kp_status status, const kp_err *why, kp_err *err)
{
    if (!stock->version || status == KP_NOMEM) {
        if (err) *err = *why;
        return status;
    }
    if (!stock->troubled) kp_log_err(KP_LOG_WARN, why);
    stock->troubled = true;
    return status == KP_LOST || status == KP_IO ? doubt(stock, err) : KP_OK;
}

kp_status kp_stock_step(kp_stock *stock, kp_err *err)
{
    kp_arena *arena = &stock->arenas[1 - stock->current];
    kp_node seen;
    kp_err why = {0};
    kp_status status = KP_OK;
    double now_s = kp_now_s();
    if (now_s >= stock->next_look_s) {
        status = kp_watch_ask(stock->watch, &why);
        stock->next_look_s = now_s + LOOK_EVERY_S;
    }
    if (status == KP_OK) {
        kp_arena_release(arena);
        status = kp_watch_take(stock->watch, arena, &seen, &why);
    }
    if (status == KP_RETRY) return KP_OK;
    if (status != KP_OK) return look_failed(stock, status, &why, err);
    if (stock->troubled) kp_log(KP_LOG_INFO, "the inventory can be read again");
    stock->troubled = false;
    return take(stock, &seen, err);
}
