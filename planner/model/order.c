/* SPDX-License-Identifier: MIT
 *
 * Names to indices, and the order in which a model's calls run: Kahn's algorithm with a heap of
 * what is ready, so that of all ready calls the first in the file runs first. Calls are numbered
 * through: layer by layer, call by call. */
#include "planner/model/spec.h"

bool kp_grow_from_one(kp_arena *arena, void **items, uint32_t n, uint32_t *cap, size_t size)
{
    uint32_t more = *cap ? *cap * 2 : 1;
    void *grown = more > *cap ? kp_arena_alloc(arena, more, size) : NULL;
    if (!grown) return false;
    if (n) memcpy(grown, *items, n * size);
    *items = grown;
    *cap = more;
    return true;
}

/* ---- names ---- */

static uint32_t hash_of(const char *text)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (; *text; text++) h = (h ^ (uint8_t)*text) * 16777619u;
    return h;
}

static uint32_t slot_of(const kp_names *names, const char *name)
{
    uint32_t at = hash_of(name) & names->mask;
    while (names->slots[at] && strcmp(names->model->layers[names->slots[at] - 1].name, name))
        at = (at + 1) & names->mask;
    return at;
}

kp_status kp_names_make(const kp_spec_model *model, kp_arena *arena, kp_names *ret, kp_err *err)
{
    uint32_t size = 16;
    while (size < 2 * model->n_layers) size *= 2;
    *ret = (kp_names){.model = model, .mask = size - 1};
    ret->slots = KP_NEW(arena, uint32_t, size);
    if (!ret->slots) return kp_nomem(err);
    for (uint32_t i = 0; i < model->n_layers; i++) {
        uint32_t at = slot_of(ret, model->layers[i].name);
        if (ret->slots[at])
            return kp_fail(err, KP_INPUT, "two layers are called '%.80s'", model->layers[i].name);
        ret->slots[at] = i + 1;
    }
    return KP_OK;
}

uint32_t kp_names_find(const kp_names *names, const char *name)
{
    uint32_t found = names->slots[slot_of(names, name)];
    return found ? found - 1 : KP_NO;
}

/* ---- order ---- */

typedef struct order {
    kp_spec_model *model;
    kp_arena *arena;
    kp_err *err;
    uint32_t n;
    uint32_t *base;          /* first number of each layer's calls, n_layers + 1 */
    kp_spec_step *steps;     /* what each number is */
    uint32_t *waits;         /* calls it still waits for */
    uint32_t *first, *after; /* who waits for it: after[first[i] .. first[i + 1]) */
    uint32_t *heap, n_heap;
} order;

static kp_status number_calls(order *o)
{
    kp_spec_model *model = o->model;
    o->base = KP_NEW(o->arena, uint32_t, (size_t)model->n_layers + 1);
    if (!o->base) return kp_nomem(o->err);
    for (uint32_t i = 0; i < model->n_layers; i++)
        o->base[i + 1] = o->base[i] + model->layers[i].n_calls;
    o->n = o->base[model->n_layers];
    o->steps = KP_NEW(o->arena, kp_spec_step, o->n);
    o->waits = KP_NEW(o->arena, uint32_t, o->n);
    o->first = KP_NEW(o->arena, uint32_t, (size_t)o->n + 2);
    o->heap = KP_NEW(o->arena, uint32_t, o->n);
    if (!o->steps || !o->waits || !o->first || !o->heap) return kp_nomem(o->err);
    for (uint32_t i = 0; i < model->n_layers; i++)
        for (uint32_t j = 0; j < model->layers[i].n_calls; j++)
            o->steps[o->base[i] + j] = (kp_spec_step){i, j};
    return KP_OK;
}

static kp_status check_ref(const order *o, const kp_ref *ref, const char *reader)
{
    const kp_spec_layer *from = &o->model->layers[ref->layer];
    if (ref->call < from->n_calls) return KP_OK;
    return kp_fail(o->err, KP_INPUT,
                   "%s%s%s reads call %u of layer '%.60s', which is called %u times", reader ? "layer '" : "the model's output", reader ? reader : "",
                   reader ? "'" : "", ref->call, from->name, from->n_calls);
}

static uint32_t number_of(const order *o, const kp_ref *ref)
{
    return o->base[ref->layer] + ref->call;
}

/* Edges by counting: first how many wait for each, then who. */
static kp_status collect_edges(order *o)
{
    uint32_t n_edges = 0;
    for (uint32_t i = 0; i < o->n; i++) {
        const kp_spec_layer *layer = &o->model->layers[o->steps[i].layer];
        const kp_spec_call *call = &layer->calls[o->steps[i].call];
        for (uint32_t j = 0; j < call->n_refs; j++) {
            KP_TRY(check_ref(o, &call->refs[j], layer->name));
            o->first[number_of(o, &call->refs[j]) + 2]++;
            o->waits[i]++;
            n_edges++;
        }
    }
    for (uint32_t j = 0; j < o->model->n_outputs; j++)
        KP_TRY(check_ref(o, &o->model->outputs[j], NULL));
    o->after = KP_NEW(o->arena, uint32_t, n_edges);
    if (!o->after) return kp_nomem(o->err);
    for (uint32_t i = 2; i < o->n + 2; i++) o->first[i] += o->first[i - 1];
    for (uint32_t i = 0; i < o->n; i++) {
        const kp_spec_call *call = &o->model->layers[o->steps[i].layer].calls[o->steps[i].call];
        for (uint32_t j = 0; j < call->n_refs; j++)
            o->after[o->first[number_of(o, &call->refs[j]) + 1]++] = i;
    }
    return KP_OK;
}

static void push(order *o, uint32_t v)
{
    uint32_t at = o->n_heap++;
    for (; at && o->heap[(at - 1) / 2] > v; at = (at - 1) / 2) o->heap[at] = o->heap[(at - 1) / 2];
    o->heap[at] = v;
}

static uint32_t pop(order *o)
{
    uint32_t top = o->heap[0], v = o->heap[--o->n_heap], at = 0;
    for (uint32_t kid; (kid = 2 * at + 1) < o->n_heap; at = kid) {
        if (kid + 1 < o->n_heap && o->heap[kid + 1] < o->heap[kid]) kid++;
        if (o->heap[kid] >= v) break;
        o->heap[at] = o->heap[kid];
    }
    o->heap[at] = v;
    return top;
}

/* Follows what an unfinished call waits for until one repeats: that one is on the cycle. */
static kp_status fail_cycle(const order *o)
{
    uint32_t at = 0;
    while (!o->waits[at]) at++;
    for (uint32_t hops = 0; hops < o->n; hops++) {
        const kp_spec_call *call = &o->model->layers[o->steps[at].layer].calls[o->steps[at].call];
        for (uint32_t j = 0; j < call->n_refs; j++)
            if (o->waits[number_of(o, &call->refs[j])]) {
                at = number_of(o, &call->refs[j]);
                break;
            }
    }
    return kp_fail(o->err, KP_INPUT,
                   "layer '%.80s' waits for its own output: the layers form a cycle",
                   o->model->layers[o->steps[at].layer].name);
}

kp_status kp_spec_order(kp_spec_model *model, kp_arena *arena, kp_err *err)
{
    order o = {.model = model, .arena = arena, .err = err};
    KP_TRY(number_calls(&o));
    KP_TRY(collect_edges(&o));
    kp_spec_step *out = KP_NEW(arena, kp_spec_step, o.n);
    if (!out) return kp_nomem(err);
    for (uint32_t i = 0; i < o.n; i++)
        if (!o.waits[i]) push(&o, i);
    uint32_t n = 0;
    while (o.n_heap) {
        uint32_t i = pop(&o);
        out[n++] = o.steps[i];
        for (uint32_t j = o.first[i]; j < o.first[i + 1]; j++)
            if (!--o.waits[o.after[j]]) push(&o, o.after[j]);
    }
    if (n < o.n) return fail_cycle(&o);
    model->order = out;
    model->n_order = n;
    return KP_OK;
}
