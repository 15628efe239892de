/* SPDX-License-Identifier: MIT */
#include "files.h"
#include "planner/container/inflate.h"
#include <criterion/criterion.h>
#include <zlib.h>

static test_reading read_source(const kp_source *source)
{
    test_reading r = {.text = ""};
    const char *text;
    size_t len;
    kp_arena_init(&r.arena, (size_t)64 << 20);
    r.status = kp_container_text(source, &r.arena, &text, &len, &r.err);
    r.used_bytes = r.arena.used_bytes;
    if (r.status == KP_OK) r.text = kp_arena_strn(&r.arena, text, len);
    cr_assert_not_null(r.text);
    return r;
}

test_reading test_read(const void *bytes, size_t n)
{
    kp_source source = kp_source_memory(bytes, n);
    return read_source(&source);
}

static kp_status read_piece(void *of, uint64_t at, void *to, size_t n, kp_err *err)
{
    (void)err;
    memcpy(to, (const uint8_t *)of + at, n);
    return KP_OK;
}

test_reading test_read_pieces(const void *bytes, size_t n)
{
    kp_buf copy;
    kp_buf_init(&copy, 0);
    kp_buf_add(&copy, bytes, n);
    kp_source source = {.read = read_piece, .of = copy.data, .size = n};
    test_reading r = read_source(&source);
    kp_buf_release(&copy);
    return r;
}

void test_reading_free(test_reading *reading)
{
    kp_arena_release(&reading->arena);
}

kp_buf test_file(const char *path)
{
    char full[256], bytes[4096];
    size_t n;
    kp_buf out;
    kp_buf_init(&out, 0);
    snprintf(full, sizeof(full), "tests/data/%s", path);
    FILE *file = fopen(full, "rb");
    cr_assert_not_null(file, "%s is not there", full);
    while ((n = fread(bytes, 1, sizeof(bytes), file))) kp_buf_add(&out, bytes, n);
    fclose(file);
    return out;
}

kp_source test_unpacked(const char *path, kp_arena *arena)
{
    kp_buf packed = test_file(path);
    kp_source source = kp_source_memory(packed.data, packed.len), whole;
    kp_err err = {0};
    cr_assert_eq(kp_gunzip(&source, arena, &whole, &err), KP_OK, "%s: %s", path, err.msg);
    kp_buf_release(&packed);
    return whole;
}

/* ---- archives ---- */

static void put(kp_buf *out, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++, value >>= 8) kp_buf_char(out, (char)(value & 255));
}

/* zlib's whole output for bytes: raw, or with gzip's frame. */
static kp_buf deflated(const void *bytes, size_t n, bool gzip)
{
    kp_buf out;
    z_stream z = {0};
    kp_buf_init(&out, 0);
    cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, gzip ? 31 : -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    union {
        const void *from;
        Bytef *to;
    } in = {.from = bytes}; /* zlib's next_in is not const */
    z.next_in = in.to;
    z.avail_in = (uInt)n;
    for (int code = Z_OK; code == Z_OK;) {
        Bytef piece[4096];
        z.next_out = piece;
        z.avail_out = sizeof(piece);
        code = deflate(&z, Z_FINISH);
        cr_assert(code == Z_OK || code == Z_STREAM_END);
        kp_buf_add(&out, piece, sizeof(piece) - z.avail_out);
    }
    deflateEnd(&z);
    return out;
}

kp_buf test_gzip(const void *bytes, size_t n)
{
    return deflated(bytes, n, true);
}

/* The fields that local and central headers share, from flags to the length of extra fields. */
static void put_fields(kp_buf *out, const test_entry *e, uint32_t crc, size_t packed, size_t whole)
{
    put(out, 0, 2);
    put(out, e->deflated ? 8 : 0, 2);
    put(out, 0, 4);
    put(out, crc, 4);
    put(out, packed, 4);
    put(out, whole, 4);
    put(out, strlen(e->name), 2);
    put(out, 0, 2);
}

/* Local header and data; the central header goes to `directory`. */
static void put_entry(kp_buf *out, kp_buf *directory, const test_entry *e)
{
    size_t n = e->n || !e->bytes ? e->n : strlen(e->bytes);
    uint32_t crc = kp_crc32(e->bytes, n);
    kp_buf packed = {0};
    if (e->deflated) packed = deflated(e->bytes, n, false);
    size_t n_packed = e->deflated ? packed.len : n;
    put(directory, 0x02014b50, 4);
    put(directory, 20, 2);
    put(directory, 20, 2);
    put_fields(directory, e, crc, n_packed, n);
    put(directory, 0, 10);
    put(directory, out->len, 4);
    kp_buf_str(directory, e->name);
    put(out, 0x04034b50, 4);
    put(out, 20, 2);
    put_fields(out, e, crc, n_packed, n);
    kp_buf_str(out, e->name);
    kp_buf_add(out, e->deflated ? packed.data : e->bytes, n_packed);
    kp_buf_release(&packed);
}

kp_buf test_zip(const test_entry *entries, size_t n, const test_patch *patches, size_t n_patches)
{
    kp_buf out, directory;
    size_t local[16], central[16], count = 0;
    kp_buf_init(&out, 0);
    kp_buf_init(&directory, 0);
    for (; count < n && entries[count].name; count++) {
        cr_assert_lt(count, KP_LEN(local));
        local[count] = out.len;
        central[count] = directory.len;
        put_entry(&out, &directory, &entries[count]);
    }
    size_t start = out.len;
    kp_buf_add(&out, directory.data, directory.len);
    size_t end = out.len;
    put(&out, 0x06054b50, 4);
    put(&out, 0, 4);
    put(&out, count, 2);
    put(&out, count, 2);
    put(&out, directory.len, 4);
    put(&out, start, 4);
    put(&out, 0, 2);
    kp_buf_release(&directory);
    for (size_t i = 0; patches && i < n_patches && patches[i].record; i++) {
        const test_patch *p = &patches[i];
        size_t at = p->record == TEST_LOCAL     ? local[p->entry]
                    : p->record == TEST_CENTRAL ? start + central[p->entry]
                                                : end;
        for (unsigned b = 0; b < p->width; b++)
            out.data[at + p->offset + b] = (char)(p->value >> 8 * b & 255);
    }
    return out;
}
