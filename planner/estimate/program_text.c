/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/program_text.c — statements and calls of a program, run as they are read. */
#include "planner/estimate/program_parts.h"
#include <assert.h>
#include <ctype.h>

enum { REPEAT_MAX = 64, DEPTH_MAX = 16 };

/* ---- words ---- */

static void skip(const char **at)
{
    while (**at == ' ' || **at == '\n') ++*at;
}

kp_word kp_prog_word(const char **at)
{
    skip(at);
    kp_word w = {*at, 0};
    while (isalnum((unsigned char)**at) || **at == '_' || **at == '-') ++*at, ++w.len;
    return w;
}

bool kp_prog_take(const char **at, char c)
{
    skip(at);
    if (**at != c) return false;
    ++*at;
    return true;
}

bool kp_prog_is(kp_word w, const char *text)
{
    return strlen(text) == w.len && !memcmp(w.at, text, w.len);
}

/* ---- variables ---- */

static kp_prog_var *find(kp_prog_frame *f, kp_word name)
{
    for (uint32_t i = f->n_vars; i-- > 0;) {
        kp_word n = f->vars[i].name;
        if (n.len == name.len && !memcmp(n.at, name.at, n.len)) return &f->vars[i];
    }
    return NULL;
}

uint32_t kp_prog_variable(kp_prog_frame *f, kp_word name)
{
    const kp_prog_var *v = find(f, name);
    assert(v);
    return v->tensor;
}

void kp_prog_bind(kp_prog_frame *f, kp_word name, uint32_t tensor, bool held)
{
    assert(f->n_vars < PROGRAM_VARS);
    f->vars[f->n_vars++] = (kp_prog_var){.name = name, .tensor = tensor, .held = held};
}

static void forget(kp_program_run *r, kp_prog_frame *f, kp_prog_var *v)
{
    if (v->held) kp_prog_drop(r, v->tensor);
    *v = f->vars[--f->n_vars];
}

static void drop_all(kp_program_run *r, kp_prog_frame *f, kp_word name)
{
    for (kp_prog_var *v = find(f, name); v; v = find(f, name)) forget(r, f, v);
}

/* What a function's locals held goes when it returns. */
void kp_prog_leave(kp_program_run *r, kp_prog_frame *f)
{
    for (uint32_t i = 0; i < f->n_vars; i++)
        if (f->vars[i].held) kp_prog_drop(r, f->vars[i].tensor);
    f->n_vars = 0;
}

/* ---- calls ---- */

static uint32_t evaluate(kp_program_run *r, kp_prog_frame *f, const char **at, uint32_t *ret);

static uint32_t call(kp_program_run *r, kp_prog_frame *f, kp_word name, const char **at,
                     uint32_t *ret)
{
    if (kp_prog_make(r, f, name, at, ret)) return 1;
    char text[48];
    assert(name.len < sizeof(text));
    memcpy(text, name.at, name.len);
    text[name.len] = 0;
    const kp_program *p = kp_program_find(text);
    assert(p);
    uint32_t args[PROGRAM_ARGS], n = 0;
    while (!kp_prog_take(at, ')')) {
        uint32_t one[PROGRAM_ARGS];
        evaluate(r, f, at, one);
        assert(n < PROGRAM_ARGS);
        args[n++] = one[0];
        kp_prog_take(at, ',');
    }
    uint32_t n_ret = kp_prog_call(r, p, args, n, ret);
    for (uint32_t i = 0; i < n; i++) kp_prog_drop(r, args[i]); /* temporaries of the call */
    return n_ret;
}

/* A name or a call; what comes back is held once more. */
static uint32_t evaluate(kp_program_run *r, kp_prog_frame *f, const char **at, uint32_t *ret)
{
    kp_word w = kp_prog_word(at);
    assert(w.len);
    if (kp_prog_take(at, '(')) return call(r, f, w, at, ret);
    ret[0] = kp_prog_variable(f, w);
    kp_prog_hold(r, ret[0]);
    return 1;
}

static bool any_wants(const kp_program_run *r, const uint32_t *args, uint32_t n)
{
    bool any = false;
    for (uint32_t i = 0; i < n; i++) any |= r->tensors[args[i]].wants;
    return any;
}

static void record(kp_program_run *r, const kp_prog_frame *f, const uint32_t *args, uint32_t n)
{
    if (!KP_GROW(r->t->arena, r->nodes, r->n_nodes, r->cap_nodes)) {
        r->t->status = kp_nomem(r->t->err);
        return;
    }
    kp_prog_node *node = &r->nodes[r->n_nodes];
    *node = (kp_prog_node){.program = f->program, .n_args = n, .n_out = f->n_ret};
    memcpy(node->args, args, n * sizeof(*args));
    memcpy(node->out, f->ret, f->n_ret * sizeof(*f->ret));
    node->saved = KP_NEW(r->t->arena, kp_prog_var, f->n_vars);
    if (f->n_vars && !node->saved) {
        r->t->status = kp_nomem(r->t->err);
        return;
    }
    for (uint32_t i = 0; i < f->n_vars; i++) {
        if (!f->vars[i].saved) continue;
        node->saved[node->n_saved++] = f->vars[i];
        kp_prog_hold(r, f->vars[i].tensor);
    }
    for (uint32_t i = 0; i < n; i++) r->tensors[args[i]].readers++;
    for (uint32_t i = 0; i < f->n_ret; i++) r->tensors[f->ret[i]].wants = true;
    r->n_nodes++;
}

/* What a function returns is a tensor of its own even if the memory is an argument's. */
static void own_results(kp_program_run *r, kp_prog_frame *f, const uint32_t *args, uint32_t n)
{
    for (uint32_t k = 0; k < f->n_ret; k++)
        for (uint32_t i = 0; i < n; i++) {
            if (f->ret[k] != args[i]) continue;
            uint32_t same =
                kp_prog_view(r, args[i], r->tensors[args[i]].rows, r->tensors[args[i]].columns);
            kp_prog_drop(r, args[i]);
            f->ret[k] = same;
            break;
        }
}

uint32_t kp_prog_call(kp_program_run *r, const kp_program *p, const uint32_t *args, uint32_t n,
                      uint32_t *ret)
{
    kp_prog_frame f = {.program = p, .first_node = r->n_nodes};
    const char *at = p->params, *outer = r->what;
    bool recording = r->recording, recorded = p->backward && recording && any_wants(r, args, n);
    assert(r->depth < DEPTH_MAX);
    if (kp_taping_failed(r->t)) return 0;
    r->depth++;
    for (uint32_t i = 0; i < n; i++) {
        kp_word name = kp_prog_word(&at);
        if (name.len) kp_prog_bind(&f, name, args[i], false);
    }
    if (p->backward) {
        r->recording = false;
        r->what = p->name;
    }
    kp_prog_text(r, &f, p->forward);
    r->recording = recording;
    r->what = outer;
    if (p->backward) own_results(r, &f, args, n);
    if (recorded && !kp_taping_failed(r->t)) record(r, &f, args, n);
    memcpy(ret, f.ret, f.n_ret * sizeof(*ret));
    kp_prog_leave(r, &f);
    r->depth--;
    return f.n_ret;
}

/* ---- statements ---- */

static void statement_save(kp_program_run *r, kp_prog_frame *f, const char **at)
{
    for (kp_word w = kp_prog_word(at); w.len; w = kp_prog_word(at)) {
        kp_prog_var *v = find(f, w);
        assert(v);
        v->saved =
            !kp_prog_take(at, ':') || r->tensors[kp_prog_variable(f, kp_prog_word(at))].wants;
    }
}

/* Past a call that is not made. */
static void pass_over(const char **at)
{
    int open = 0;
    for (skip(at); **at && (open || (**at != ',' && **at != ';')); ++*at)
        open += (**at == '(') - (**at == ')');
}

static void statement_return(kp_program_run *r, kp_prog_frame *f, const char **at)
{
    const char *params = f->program->params;
    do {
        kp_word param = kp_prog_word(&params);
        bool unwanted = f->backward && !(param.len && r->tensors[kp_prog_variable(f, param)].wants);
        skip(at);
        uint32_t one[PROGRAM_ARGS] = {KP_NO};
        if (unwanted || **at == '-')
            pass_over(at);
        else
            evaluate(r, f, at, one);
        assert(f->n_ret < PROGRAM_ARGS);
        f->ret[f->n_ret++] = one[0];
    } while (kp_prog_take(at, ','));
}

static void statement_backward(kp_program_run *r, kp_prog_frame *f, const char **at)
{
    uint32_t y = kp_prog_variable(f, kp_prog_word(at)), d = KP_NO;
    kp_word from = kp_prog_word(at);
    if (kp_prog_is(from, "-"))
        d = kp_prog_new(r, 1, 1, r->tensors[y].dtype);
    else
        kp_prog_hold(r, d = kp_prog_variable(f, from));
    r->tensors[y].grad = d;
    bool retain = r->retain;
    r->retain = false;
    kp_prog_backward(r, f->first_node);
    r->retain = retain;
}

static void statement_bind(kp_program_run *r, kp_prog_frame *f, kp_word first, const char **at)
{
    kp_word names[PROGRAM_OUT] = {first};
    uint32_t n = 1, made[PROGRAM_ARGS];
    while (kp_prog_take(at, ',')) names[n++] = kp_prog_word(at);
    bool bound = kp_prog_take(at, '=');
    assert(bound);
    (void)bound;
    uint32_t n_made = evaluate(r, f, at, made);
    assert(n_made >= n || kp_taping_failed(r->t));
    for (uint32_t i = 0; i < n && i < n_made; i++) {
        kp_prog_var *old = find(f, names[i]);
        if (old) forget(r, f, old);
        kp_prog_bind(f, names[i], made[i], true);
    }
    for (uint32_t i = n; i < n_made; i++) kp_prog_drop(r, made[i]);
}

static const char *block_end(const char *at)
{
    for (int open = 1; *at; at++) {
        open += (*at == '{') - (*at == '}');
        if (!open) return at;
    }
    return at;
}

static void block(kp_program_run *r, kp_prog_frame *f, kp_word w, const char **at)
{
    uint64_t times = 1;
    bool recording = r->recording;
    if (kp_prog_is(w, "repeat"))
        times = kp_min_u64(kp_prog_size(r, kp_prog_word(at)), REPEAT_MAX);
    else
        r->recording = true;
    kp_prog_take(at, '{');
    for (uint64_t i = 0; i < times; i++) kp_prog_text(r, f, *at);
    r->recording = recording;
    *at = block_end(*at) + 1;
}

void kp_prog_text(kp_program_run *r, kp_prog_frame *f, const char *text)
{
    const char **at = &text;
    while (!kp_taping_failed(r->t)) {
        while (kp_prog_take(at, ';')) {
        }
        kp_word w = kp_prog_word(at), name;
        if (!w.len) return;
        if (kp_prog_is(w, "save")) {
            statement_save(r, f, at);
        } else if (kp_prog_is(w, "return")) {
            statement_return(r, f, at);
        } else if (kp_prog_is(w, "repeat") || kp_prog_is(w, "grad")) {
            block(r, f, w, at);
        } else if (kp_prog_is(w, "backward")) {
            statement_backward(r, f, at);
        } else if (kp_prog_is(w, "drop")) {
            drop_all(r, f, kp_prog_word(at));
        } else if (kp_prog_is(w, "append")) {
            name = kp_prog_word(at);
            uint32_t one[PROGRAM_ARGS];
            evaluate(r, f, at, one);
            kp_prog_bind(f, name, one[0], true);
        } else {
            statement_bind(r, f, w, at);
        }
    }
}
