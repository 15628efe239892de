/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_collectives.c — what a rank of a divided model exchanges in a step. */
#include "planner/plan/explain_parts.h"
#include "planner/plan/explain_print.h"
#include "planner/estimate/collectives.h"
#include <inttypes.h>

enum { ROWS_SHOWN = 8 };

kp_status kp_explain_collectives(kp_explaining *e)
{
    const kp_look *look = &e->look;
    kp_collective *list = NULL;
    uint32_t n = 0;
    if (!look->divided) return KP_OK;
    KP_TRY(
        kp_collectives_of(look->graph, &look->training, &look->part, e->arena, &list, &n, e->err));
    e->out->collectives = KP_NEW(e->arena, kp_explain_collective, n);
    if (n && !e->out->collectives) return kp_nomem(e->err);
    for (uint32_t i = 0; i < n; i++)
        e->out->collectives[i] =
            (kp_explain_collective){kp_collective_ops[list[i].op], list[i].bytes, list[i].count,
                                    kp_collective_whats[list[i].what]};
    e->out->n_collectives = n;
    return KP_OK;
}

void kp_print_collectives(const kp_explain *x, kp_buf *out)
{
    uint64_t count = 0, bytes = 0;
    if (!x->n_collectives) return;
    kp_buf_str(out, "\nExchanged in a step     each    times     together\n");
    for (uint32_t i = 0; i < x->n_collectives; i++) {
        const kp_explain_collective *c = &x->collectives[i];
        uint64_t all = kp_mul_u64(c->bytes, c->count);
        if (i >= ROWS_SHOWN) {
            count = kp_add_u64(count, c->count);
            bytes = kp_add_u64(bytes, all);
            continue;
        }
        kp_buf_fmt(out, "  %-14s %11s %8" PRIu64 "  %11s  %s\n", c->op, kp_size_text(c->bytes).s,
                   c->count, kp_size_text(all).s, c->what);
    }
    if (count)
        kp_buf_fmt(out, "  %-14s %11s %8" PRIu64 "  %11s\n", "smaller ones", "", count,
                   kp_size_text(bytes).s);
}
