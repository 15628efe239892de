/* SPDX-License-Identifier: MIT
 *
 * What a file is; gzip; folders; every allocation fails once. */
#include "files.h"
#include <criterion/criterion.h>

/* clang-format off */
static const struct {
    const char *bytes;
    size_t n;
    kp_status status;
    const char *want;
} heads[] = {
    {"{}", 2, KP_OK, "{}"},
    {"\xef\xbb\xbf{}", 5, KP_OK, "\xef\xbb\xbf{}"},
    {"", 0, KP_OK, ""},
    {"P", 1, KP_OK, "P"},
    {"PK\3\4", 4, KP_INPUT, "damaged zip archive: it is cut off"},
    {"PK\5\6", 4, KP_INPUT, "damaged zip archive: it is cut off"},
    {"\x89HDF\r\n\x1a\n", 8, KP_INPUT, "past the end"},
    {"\x89HDF\r\n\x1a\n\x09\0\0\0", 12, KP_INPUT, "superblock of version 9"},
    {"\x1f\x8b", 2, KP_INPUT, "the packed data is cut off"},
    {"\x1f\x8b\x08\0\0\0\0\0\0\3\xff\xff\xff\xff", 14, KP_INPUT, "the packed data is damaged"},
    {"\xff\xfe{\0}\0", 6, KP_UNSUPPORTED, "the file is UTF-16 text"},
    {"\xfe\xff\0{\0}", 6, KP_UNSUPPORTED, "the file is UTF-16 text"},
    {"\x80\4\x95", 3, KP_UNSUPPORTED, "the file is a Python pickle"},
    {"\x1c\0\0\0TFL3", 8, KP_UNSUPPORTED, "the file is a TensorFlow Lite model"},
    {"GGUF\3", 5, KP_UNSUPPORTED, "the file is a GGUF file"},
    {"\x08\0\0\0\0\0\0\0{\"a\":", 13, KP_UNSUPPORTED, "the file is a safetensors file"},
    {"\xfd" "7zXZ\0", 6, KP_UNSUPPORTED, "the file is packed by xz"},
    {"\x28\xb5\x2f\xfd", 4, KP_UNSUPPORTED, "the file is packed by zstd"},
    {"BZh9", 4, KP_UNSUPPORTED, "the file is packed by bzip2"},
};
/* clang-format on */

Test(container, recognised_by_content)
{
    for (size_t i = 0; i < KP_LEN(heads); i++) {
        test_reading r = test_read(heads[i].bytes, heads[i].n);
        cr_expect_eq(r.status, heads[i].status, "row %zu: %s: %s", i, r.err.where, r.err.msg);
        const char *said = r.status ? r.err.msg : r.text;
        cr_expect(strstr(said, heads[i].want), "row %zu: %s", i, said);
        test_reading_free(&r);
    }
}

/* ---- gzip ---- */

static void expect_gzip(const char *what, const kp_buf *file, kp_status status, const char *want)
{
    test_reading r = test_read(file->data, file->len),
                 pieces = test_read_pieces(file->data, file->len);
    cr_expect_eq(r.status, status, "%s: %s", what, r.err.msg);
    cr_expect(strstr(r.status ? r.err.msg : r.text, want), "%s: %s %s", what, r.err.msg, r.text);
    cr_expect_eq(pieces.status, status, "%s", what);
    cr_expect_leq(r.used_bytes, 24u << 20, "%s", what);
    test_reading_free(&r);
    test_reading_free(&pieces);
}

Test(container, gzip)
{
    const char text[] = "{\"class_name\": \"Sequential\", \"config\": []}";
    kp_buf file = test_gzip(text, strlen(text));
    expect_gzip("text", &file, KP_OK, text);
    kp_buf twice = test_gzip(file.data, file.len);
    expect_gzip("twice", &twice, KP_INPUT, "packed by gzip twice");
    kp_buf_release(&twice);
    size_t len = file.len;
    for (size_t n = 2; n < len; n++) {
        file.len = n;
        expect_gzip("truncated", &file, KP_INPUT, "cut off");
    }
    file.len = len;
    kp_buf members = test_gzip("[1,", 3);
    kp_buf rest = test_gzip("2]", 2);
    kp_buf_add(&members, rest.data, rest.len);
    expect_gzip("members", &members, KP_OK, "[1,2]");
    kp_buf_str(&members, "x");
    expect_gzip("rest", &members, KP_INPUT, "something behind the end");
    kp_buf_release(&members);
    kp_buf_release(&rest);
    file.data[file.len - 6] ^= 1; /* the check sum */
    expect_gzip("check sum", &file, KP_INPUT, "damaged");
    kp_buf_release(&file);
}

Test(container, gzip_bombs)
{
    size_t n = 20u << 20;
    char *bytes = calloc(1, n);
    cr_assert_not_null(bytes);
    kp_buf file = test_gzip(bytes, n);
    expect_gzip("ratio", &file, KP_INPUT, "more than 200 times its size");
    kp_buf_release(&file);
    for (size_t i = 0; i < n; i += 97) bytes[i] = (char)(i * 2654435761u >> 7);
    file = test_gzip(bytes, n);
    expect_gzip("size", &file, KP_INPUT, "unpacks to more than 8.0 MiB");
    kp_buf_release(&file);
    free(bytes);
}

Test(container, an_archive_in_gzip)
{
    const test_entry entries[] = {{"config.json", "{\"a\":1}", 0, true}};
    kp_buf zip = test_zip(entries, 1, NULL, 0), file = test_gzip(zip.data, zip.len);
    expect_gzip("zip", &file, KP_OK, "{\"a\":1,\"kplan_container\"");
    kp_buf_release(&zip);
    kp_buf_release(&file);
}

/* ---- an archive's files, and failing memory ---- */

Test(container, folder)
{
    static const char config[] = "{\"a\": 1}\n", metadata[] = "{\"keras_version\": \"3.1\"}";
    kp_arena arena;
    kp_err err = {0};
    const char *text;
    size_t len;
    kp_arena_init(&arena, 0);
    kp_source weights = test_unpacked("hdf5/weights_only.h5.gz", &arena);
    kp_source a = kp_source_memory(config, strlen(config)),
              b = kp_source_memory(metadata, strlen(metadata));
    cr_assert_eq(kp_container_folder(&a, &b, &weights, &arena, &text, &len, &err), KP_OK, "%s",
                 err.msg);
    cr_expect(!strncmp(text,
                       "{\"a\": "
                       "1,\"keras_version\":\"3.1\",\"kplan_container\":{\"kind\":\"keras-folder\","
                       "\"weights\":[{\"path\":\"d0/d0/bias:0\"",
                       98),
              "%s", text);
    b.size = (2u << 20); /* not read: it is too large */
    cr_expect_eq(kp_container_folder(&a, &b, NULL, &arena, &text, &len, &err), KP_INPUT);
    cr_expect_str_eq(err.where, "metadata.json");
    kp_arena_release(&arena);
}

static void fail_each(const char *what, const void *bytes, size_t n)
{
    kp_status status = KP_NOMEM;
    uint64_t call = 1;
    for (; status == KP_NOMEM && call < 20000; call++) {
        kp_arena arena;
        kp_err err = {0};
        const char *text;
        size_t len;
        kp_source source = kp_source_memory(bytes, n);
        kp_arena_init(&arena, 0);
        arena.fail_call = call;
        status = kp_container_text(&source, &arena, &text, &len, &err);
        cr_assert(status == KP_NOMEM || status == KP_OK, "%s, allocation %lu: %s", what,
                  (unsigned long)call, err.msg);
        kp_arena_release(&arena);
    }
    cr_expect_eq(status, KP_OK, "%s", what);
    cr_expect_gt(call, 3, "%s", what);
}

Test(container, every_allocation_fails_once)
{
    static const char *const names[] = {"earliest", "latest", "dense_attributes"};
    kp_arena arena;
    kp_arena_init(&arena, 0);
    kp_source weights = test_unpacked("hdf5/weights_only.h5.gz", &arena);
    const test_entry entries[] = {{"config.json", "{\"a\":1}", 0, true},
                                  {"metadata.json", "{\"keras_version\":\"3\"}", 0, false},
                                  {"model.weights.h5", weights.bytes, (size_t)weights.size, false}};
    kp_buf zip = test_zip(entries, KP_LEN(entries), NULL, 0), file = test_gzip(zip.data, zip.len);
    fail_each("zip", zip.data, zip.len);
    fail_each("gzip", file.data, file.len);
    for (size_t i = 0; i < KP_LEN(names); i++) {
        char path[64];
        snprintf(path, sizeof(path), "hdf5/%s.h5.gz", names[i]);
        kp_source hdf5 = test_unpacked(path, &arena);
        fail_each(names[i], hdf5.bytes, (size_t)hdf5.size);
    }
    kp_buf_release(&zip);
    kp_buf_release(&file);
    kp_arena_release(&arena);
}

/* Brackets pack well and take a hundred times their size as a document. */
Test(container, brackets)
{
    kp_buf text;
    kp_buf_init(&text, 0);
    kp_buf_char(&text, '[');
    for (unsigned i = 0; text.len < 4u << 20; i++) {
        kp_buf_str(&text, "[],{},");
        if (i % 30 == 0) kp_buf_fmt(&text, "%u,", i * 2654435761u % 1000003);
    }
    kp_buf_str(&text, "[]]");
    kp_buf file = test_gzip(text.data, text.len);
    expect_gzip("brackets", &file, KP_INPUT, "the JSON text takes");
    const test_entry entries[] = {{"config.json", text.data, text.len, true}};
    expect_gzip("brackets as they are", &text, KP_INPUT, "the JSON text takes");
    kp_buf zip = test_zip(entries, 1, NULL, 0);
    expect_gzip("brackets in an archive", &zip, KP_INPUT, "the JSON text takes");
    kp_buf_release(&text);
    kp_buf_release(&file);
    kp_buf_release(&zip);
}
