/* SPDX-License-Identifier: MIT
 *
 * Archives past four gigabytes, of which the middle is made up when it is read. */
#include "files.h"
#include "planner/container/limits.h"
#include <criterion/criterion.h>

#define CONFIG "{\"a\": 1}"
enum { HOLE = 5 }; /* GiB of weights */

/* The archive's first and last bytes; zeros in between. */
typedef struct large {
    kp_buf head, tail;
    uint64_t hole, read; /* bytes that do not exist; bytes that were asked for */
} large;

static kp_status read_piece(void *of, uint64_t at, void *to, size_t n, kp_err *err)
{
    large *l = of;
    char *bytes = to;
    (void)err;
    l->read += n;
    for (size_t i = 0; i < n; i++, at++) {
        uint64_t tail = l->head.len + l->hole;
        bytes[i] = at < l->head.len ? l->head.data[at] : at < tail ? 0 : l->tail.data[at - tail];
    }
    return KP_OK;
}

static void put(kp_buf *out, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++, value >>= 8) kp_buf_char(out, (char)(value & 255));
}

/* The record, the locator and the end that stand behind a directory. */
static void put_ends(kp_buf *out, uint64_t record_at, uint64_t entries, uint64_t bytes, uint64_t at)
{
    put(out, 0x06064b50, 4);
    put(out, 44, 8);
    put(out, 45, 4);
    put(out, 0, 8);
    put(out, entries, 8);
    put(out, entries, 8);
    put(out, bytes, 8);
    put(out, at, 8);
    put(out, 0x07064b50, 4);
    put(out, 0, 4);
    put(out, record_at, 8);
    put(out, 1, 4);
    put(out, 0x06054b50, 4);
    put(out, 0, 4);
    put(out, UINT64_MAX, 12);
    put(out, 0, 2);
}

static void put_fields(kp_buf *out, const char *name, uint32_t crc, uint32_t size, unsigned extra)
{
    put(out, 0, 8); /* flags, method, time */
    put(out, crc, 4);
    put(out, size, 4);
    put(out, size, 4);
    put(out, strlen(name), 2);
    put(out, extra, 2);
}

/* config.json, and weights of `hole` bytes whose sizes stand in extra fields. */
static large make(uint64_t hole)
{
    static const char weights[] = "model.weights.h5";
    const test_entry entries[] = {{"config.json", CONFIG, 0, false}};
    kp_buf small = test_zip(entries, 1, NULL, 0);
    large l = {.hole = hole};
    uint64_t second = 30 + 11 + strlen(CONFIG), central = 46 + 11;
    kp_buf_init(&l.head, 0);
    kp_buf_init(&l.tail, 0);
    kp_buf_add(&l.head, small.data, second);
    put(&l.head, 0x04034b50, 4);
    put(&l.head, 45, 2);
    put_fields(&l.head, weights, 0, UINT32_MAX, 20);
    kp_buf_str(&l.head, weights);
    for (unsigned i = 0; i < 2; i++) put(&l.head, i ? hole : 1 | 16 << 16, i ? 8 : 4);
    put(&l.head, hole, 8);
    kp_buf_add(&l.tail, small.data + second, central);
    put(&l.tail, 0x02014b50, 4);
    put(&l.tail, 45, 4);
    put_fields(&l.tail, weights, 0, UINT32_MAX, 20);
    put(&l.tail, 0, 10);
    put(&l.tail, second, 4);
    kp_buf_str(&l.tail, weights);
    put(&l.tail, 1 | 16 << 16, 4);
    put(&l.tail, hole, 8);
    put(&l.tail, hole, 8);
    kp_buf_release(&small);
    return l;
}

static const struct {
    int64_t record, entries, bytes, at; /* added to what is true */
    kp_status status;
    const char *want;
} rows[] = {
    {0, 0, 0, 0, KP_OK, "{\"a\": 1,\"kplan_container\""},
    {1, 0, 0, 0, KP_INPUT, "zip64 record is not where"},
    {0, 99999, 0, 0, KP_INPUT, "has 100001 entries, more than 100000"},
    {0, 1, 0, 0, KP_INPUT, "fewer entries"},
    {0, -1, 0, 0, KP_INPUT, "more entries"},
    {0, 0, 0, 1, KP_INPUT, "not where it should be"},
    {0, 0, -1, 0, KP_INPUT, "not where it should be"},
    {0, 0, 20 << 20, 0, KP_INPUT, "directory has 20.0 MiB, more than 16.0 MiB"},
    {0, 0, 0, INT64_MAX, KP_INPUT, "not where it should be"},
};

Test(zip64, archives_of_five_gigabytes)
{
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        large l = make((uint64_t)HOLE << 30);
        uint64_t at = l.head.len + l.hole, bytes = l.tail.len;
        put_ends(&l.tail, at + bytes + (uint64_t)rows[i].record, 2 + (uint64_t)rows[i].entries,
                 bytes + (uint64_t)rows[i].bytes, at + (uint64_t)rows[i].at);
        kp_source source = {.read = read_piece, .of = &l, .size = at + l.tail.len};
        kp_arena arena;
        kp_err err = {0};
        const char *text = "";
        size_t len = 0;
        kp_arena_init(&arena, (size_t)64 << 20);
        kp_status status = kp_container_text(&source, &arena, &text, &len, &err);
        cr_expect_eq(status, rows[i].status, "row %zu: %s", i, err.msg);
        const char *said = status ? err.msg : text;
        cr_expect(strstr(said, rows[i].want), "row %zu: %s", i, said);
        if (!status) cr_expect(strstr(text, "it is no HDF5 file"), "%.*s", (int)len, text);
        cr_expect_lt(l.read, 1u << 20, "row %zu", i);
        kp_arena_release(&arena);
        kp_buf_release(&l.head);
        kp_buf_release(&l.tail);
    }
}
