/* SPDX-License-Identifier: MIT
 *
 * planner/plan/oom_phrases.c — what stands behind each phrase: shapes, sizes, types, names. */
#include "planner/plan/oom_phrases.h"

/* ---- keeping what was found ---- */

static bool same(const kp_oom_ask *a, const kp_oom_ask *b)
{
    return a->kind == b->kind && a->host == b->host && a->rank == b->rank && a->bytes == b->bytes &&
           a->count == b->count && !memcmp(a->dim, b->dim, a->rank * sizeof(*a->dim));
}

void kp_oom_keep(kp_oom_reading *r, const kp_oom_ask *ask)
{
    kp_oom_text *out = r->out;
    for (unsigned i = 0; i < out->n; i++)
        if (same(&out->asks[i], ask)) return;
    if (out->n < KP_OOM_ASKS_MAX) out->asks[out->n++] = *ask;
}

/* A name up to one of the characters that end it. */
static void take_name(kp_oom_cursor c, const char *ends, char *ret)
{
    size_t n = 0;
    while (c.at < c.end && n + 1 < KP_OOM_NODE_MAX && (unsigned char)*c.at >= ' ' &&
           (unsigned char)*c.at < 127 && !strchr(ends, *c.at))
        ret[n++] = *c.at++;
    ret[n] = 0;
}

/* "[[node conv2d/Conv2D (defined at ...)]]", "[[{{node model/conv2d/Conv2D}}]]", "[[Node: a = B[".
 */
static void find_node(const kp_oom_reading *r, const char *at, size_t room, kp_oom_ask *ask)
{
    kp_oom_cursor c = {at, r->end}, node = c;
    if (kp_oom_seek(&node, "{{node ", room) || (node = c, kp_oom_seek(&node, "[[node: ", room)) ||
        (node = c, kp_oom_seek(&node, "[[node ", room)))
        take_name(node, " }=](,", ask->node);
}

/* The text shortly before a place, for words that change what it means. */
static bool before(const kp_oom_reading *r, const char *at, const char *word, size_t room)
{
    size_t there = (size_t)(at - r->start);
    kp_oom_cursor c = {at - (there < room ? there : room), at};
    return kp_oom_seek(&c, word, room);
}

static bool behind(const kp_oom_reading *r, const char *at, const char *word, size_t room)
{
    kp_oom_cursor c = {at, r->end};
    return kp_oom_seek(&c, word, room);
}

/* ---- TensorFlow ---- */

/* "OOM when allocating tensor with shape[40,128,256,256] and type float on .../device:GPU:0 by
 * allocator GPU_0_bfc" */
void kp_oom_tf_tensor(kp_oom_reading *r, kp_oom_cursor c)
{
    kp_oom_ask ask = {.kind = KP_OOM_TENSOR, .from = KP_OOM_TENSORFLOW};
    if (!kp_oom_seek(&c, "shape", 40) || !kp_oom_shape(&c, &ask.rank, ask.dim)) return;
    kp_oom_cursor type = c;
    if (kp_oom_seek(&type, "type", 24)) ask.has_dtype = kp_oom_dtype(&type, &ask.dtype);
    ask.host = behind(r, c.at, "allocator cpu", 160) || behind(r, c.at, "device:cpu", 120);
    find_node(r, c.at, 600, &ask);
    kp_oom_keep(r, &ask);
}

/* "ran out of memory trying to allocate 2.25GiB (rounded to 2415919104)requested by op conv2d" */
void kp_oom_tf_bfc(kp_oom_reading *r, kp_oom_cursor c)
{
    kp_oom_ask ask = {.kind = KP_OOM_BYTES, .from = KP_OOM_TENSORFLOW};
    if (!kp_oom_size(&c, &ask.bytes, &ask.low, &ask.high)) return;
    kp_oom_cursor exact = c;
    if (kp_oom_seek(&exact, "rounded to ", 24)) {
        uint64_t rounded, low, high;
        /* The allocator rounds up to 256 bytes. */
        if (kp_oom_size(&exact, &rounded, &low, &high)) {
            ask.bytes = ask.high = rounded;
            ask.low = rounded > 255 ? rounded - 255 : 1;
        }
    }
    kp_oom_cursor op = c;
    if (kp_oom_seek(&op, "requested by op ", 60)) take_name(op, " \t\n", ask.node);
    if (behind(r, c.at, "not a failure", 240)) ask.kind = KP_OOM_OPTIONAL;
    kp_oom_keep(r, &ask);
}

void kp_oom_tf_copy(kp_oom_reading *r, kp_oom_cursor c)
{
    kp_oom_ask ask = {.kind = KP_OOM_COPY, .from = KP_OOM_TENSORFLOW};
    find_node(r, c.at, 600, &ask);
    kp_oom_keep(r, &ask);
}

/* "Allocation of 1342177280 exceeds 10% of free system memory." */
void kp_oom_tf_host(kp_oom_reading *r, kp_oom_cursor c)
{
    kp_oom_ask ask = {.kind = KP_OOM_BYTES, .from = KP_OOM_TENSORFLOW, .host = true};
    if (kp_oom_size(&c, &ask.bytes, &ask.low, &ask.high) && behind(r, c.at, "exceeds", 12))
        kp_oom_keep(r, &ask);
}

/* "failed to allocate 2.0G (2147483648 bytes) from device: CUDA_ERROR_OUT_OF_MEMORY" */
void kp_oom_driver(kp_oom_reading *r, kp_oom_cursor c)
{
    kp_oom_ask ask = {.kind = KP_OOM_POOL, .from = KP_OOM_TENSORFLOW};
    if (!kp_oom_size(&c, &ask.bytes, &ask.low, &ask.high)) return;
    if (kp_oom_word(&c, " (")) kp_oom_size(&c, &ask.bytes, &ask.low, &ask.high);
    if (behind(r, c.at, "from device", 24)) kp_oom_keep(r, &ask);
}

/* ---- XLA ---- */

/* "Out of memory while trying to allocate 17179869184 bytes." and its older and newer forms. */
void kp_oom_xla_program(kp_oom_reading *r, kp_oom_cursor c)
{
    kp_oom_ask ask = {.kind = KP_OOM_PROGRAM, .from = KP_OOM_XLA};
    if (!kp_oom_size(&c, &ask.bytes, &ask.low, &ask.high)) return;
    kp_oom_cursor exact = c;
    if (kp_oom_word(&exact, " (")) kp_oom_size(&exact, &ask.bytes, &ask.low, &ask.high);
    kp_oom_keep(r, &ask);
}

/* A row of the table of buffers: "Size: 512.00MiB", "Operator: op_name="jit(f)/conv"", "Shape:
 * f32[32,256,254,254]{3,2,1,0}". */
void kp_oom_xla_buffer(kp_oom_reading *r, kp_oom_cursor c)
{
    kp_oom_ask ask = {.kind = KP_OOM_TENSOR, .from = KP_OOM_XLA};
    const char *row = c.at;
    if (!kp_oom_dtype(&c, &ask.dtype) || !kp_oom_shape(&c, &ask.rank, ask.dim)) return;
    ask.has_dtype = true;
    size_t there = (size_t)(row - r->start), room = there < 600 ? there : 600;
    kp_oom_cursor back = {row - room, row}, name = back;
    while (kp_oom_seek(&back, "buffer ", room)) name = back; /* its own row, not an earlier one */
    if (kp_oom_seek(&name, "op_name=\"", room)) take_name(name, "\"", ask.node);
    kp_oom_keep(r, &ask);
}

/* ---- torch ---- */

/* The last size before `at`: "79.25 GiB of which 1.50 GiB is free". */
static uint64_t size_before(const kp_oom_reading *r, const char *at)
{
    enum { ROOM = 24 };
    uint64_t bytes = 0, low, high;
    bool number = false; /* the cursor is inside one */
    kp_oom_cursor c = {at - r->start < ROOM ? r->start : at - ROOM, at};
    for (; c.at < c.end; c.at++) {
        bool part = (*c.at >= '0' && *c.at <= '9') || *c.at == '.';
        kp_oom_cursor size = c;
        if (part && !number && *c.at != '.') kp_oom_size(&size, &bytes, &low, &high);
        number = part;
    }
    return bytes;
}

static uint64_t size_behind(kp_oom_cursor c)
{
    uint64_t bytes = 0, low, high;
    return kp_oom_size(&c, &bytes, &low, &high) ? bytes : 0;
}

/* What the message says of the card: the first such words behind the request count. */
static void torch_card(kp_oom_reading *r, const char *at)
{
    static const struct {
        const char *word;
        size_t field;
        bool behind; /* the size stands behind the words */
    } rows[] = {
        {" total capacity;", offsetof(kp_oom_text, total), false},
        {"total capacity of ", offsetof(kp_oom_text, total), true},
        {" already allocated", offsetof(kp_oom_text, allocated), false},
        {" is allocated by pytorch", offsetof(kp_oom_text, allocated), false},
        {" reserved in total", offsetof(kp_oom_text, reserved), false},
        {" cached", offsetof(kp_oom_text, reserved), false},
        {" free;", offsetof(kp_oom_text, free), false},
        {" is free", offsetof(kp_oom_text, free), false},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_oom_cursor c = {at, r->end};
        uint64_t *to = (uint64_t *)(void *)((char *)r->out + rows[i].field);
        if (*to || !kp_oom_seek(&c, rows[i].word, 500)) continue;
        *to = rows[i].behind ? size_behind(c) : size_before(r, c.at - strlen(rows[i].word));
    }
}

/* "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity; ...)",
 * "DefaultCPUAllocator: can't allocate memory: you tried to allocate 12884901888 bytes." */
void kp_oom_torch_bytes(kp_oom_reading *r, kp_oom_cursor c)
{
    kp_oom_ask ask = {.kind = KP_OOM_BYTES, .from = KP_OOM_TORCH};
    const char *at = c.at;
    if (!kp_oom_size(&c, &ask.bytes, &ask.low, &ask.high)) return;
    ask.host = before(r, at, "cpuallocator", 200) || before(r, at, "buy new ram", 60) ||
               behind(r, at, "buy new ram", 40);
    kp_oom_keep(r, &ask);
    if (!ask.host) torch_card(r, c.at);
}

/* ---- Theano, NumPy ---- */

void kp_oom_theano_bytes(kp_oom_reading *r, kp_oom_cursor c)
{
    kp_oom_ask ask = {.kind = KP_OOM_BYTES, .from = KP_OOM_THEANO};
    if (!kp_oom_size(&c, &ask.bytes, &ask.low, &ask.high)) return;
    kp_oom_cursor report = c;
    if (kp_oom_seek(&report, "driver report ", 120)) {
        r->out->free = size_behind(report);
        if (kp_oom_seek(&report, "free and ", 60)) r->out->total = size_behind(report);
    }
    kp_oom_keep(r, &ask);
}

void kp_oom_theano_shapes(kp_oom_reading *r, kp_oom_cursor c)
{
    for (int i = 0; i < 8; i++) {
        kp_oom_ask ask = {.kind = KP_OOM_TENSOR, .from = KP_OOM_THEANO};
        if (!kp_oom_shape(&c, &ask.rank, ask.dim)) return;
        if (ask.rank > 1) kp_oom_keep(r, &ask);
        if (!kp_oom_word(&c, ", ")) return;
    }
}

/* "Unable to allocate 55.9 GiB for an array with shape (3000000, 5000) and data type float32" */
void kp_oom_numpy(kp_oom_reading *r, kp_oom_cursor c)
{
    kp_oom_ask ask = {.kind = KP_OOM_BYTES, .from = KP_OOM_NUMPY, .host = true};
    kp_oom_cursor size = c;
    kp_oom_word(&size, "array with ");
    if (!kp_oom_size(&size, &ask.bytes, &ask.low, &ask.high) && size.at == c.at) return;
    kp_oom_cursor shape = c;
    if (kp_oom_seek(&shape, "shape ", 80) && kp_oom_shape(&shape, &ask.rank, ask.dim)) {
        ask.kind = KP_OOM_TENSOR;
        if (kp_oom_seek(&shape, "type ", 24)) ask.has_dtype = kp_oom_dtype(&shape, &ask.dtype);
    }
    if (ask.bytes || ask.rank) kp_oom_keep(r, &ask);
}

/* ---- counts ---- */

/* A minus, digits with or without commas: at least 7 of them, no more than 32 bits. */
static bool negative(kp_oom_cursor *c, int64_t *ret)
{
    int64_t n = 0;
    unsigned digits = 0;
    const char *at = c->at;
    if (at == c->end || *at++ != '-') return false;
    for (; at < c->end && ((*at >= '0' && *at <= '9') || (*at == ',' && digits)); at++) {
        if (*at == ',') continue;
        if (++digits > 10) return false;
        n = n * 10 + (*at - '0');
    }
    if (digits < 4 || n > (int64_t)1 << 31) return false;
    *ret = -n;
    c->at = at;
    return true;
}

/* A summary's total, or the last column of one of its rows, named by the row's first word. */
void kp_oom_summary_row(kp_oom_reading *r, kp_oom_cursor c)
{
    const char *line = c.at, *end = memchr(c.at, '\n', (size_t)(c.end - c.at));
    while (line > r->start && line[-1] != '\n' && c.at - line < 200) line--;
    if (!end || end - c.at > 200) end = c.at + ((c.end - c.at) < 200 ? c.end - c.at : 200);
    kp_oom_ask ask = {.kind = KP_OOM_COUNT, .from = KP_OOM_KERAS};
    for (c.end = end; c.at < c.end; c.at++) {
        bool starts = *c.at == '-' && (c.at == r->start || c.at[-1] == ' ' || c.at[-1] == ':');
        if (!starts || !negative(&c, &ask.count)) continue;
        kp_oom_cursor name = {line, c.end};
        while (name.at < name.end && (*name.at == ' ' || *name.at == '|')) name.at++;
        take_name(name, " (", ask.node);
        kp_oom_keep(r, &ask);
        return;
    }
}
