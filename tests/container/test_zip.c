/* SPDX-License-Identifier: MIT
 *
 * Zip archives: what is read, and all that lies. */
#include "files.h"
#include "planner/container/limits.h"
#include <criterion/criterion.h>

#define CONFIG   "{\"class_name\": \"Sequential\", \"config\": []}"
#define METADATA "{\"keras_version\": \"3.8.0\", \"date_saved\": \"2025-04-09@07:15:03\"}"

/* Offsets in records: central header, local header, end. */
enum { C_FLAGS = 8, C_METHOD = 10, C_CRC = 16, C_PACKED = 20, C_WHOLE = 24, C_NAME = 28, C_EXTRA = 30, C_AT = 42, C_TEXT = 46 };
enum { L_FLAGS = 6, L_METHOD = 8, L_WHOLE = 22, L_NAME = 26, L_EXTRA = 28, L_TEXT = 30 };
enum { E_DISK = 4, E_HERE = 8, E_ENTRIES = 10, E_BYTES = 12, E_AT = 16, E_COMMENT = 20 };

/* clang-format off */
static const struct {
    const char *what;
    test_entry entries[4];
    test_patch patches[4];
    kp_status status;
    const char *want; /* in the text, or in the message */
} rows[] = {
    {"stored", {{"config.json", CONFIG, 0, false}, {"metadata.json", METADATA, 0, false}}, {{0}}, KP_OK, "\"keras_version\":\"3.8.0\",\"kplan_container\":{\"kind\":\"keras\",\"warnings\":[]}}"},
    {"deflated", {{"metadata.json", METADATA, 0, true}, {"config.json", CONFIG, 0, true}}, {{0}}, KP_OK, "\"config\": [],\"keras_version\":\"3.8.0\""},
    {"without metadata", {{"config.json", CONFIG, 0, false}}, {{0}}, KP_OK, "[],\"kplan_container\""},
    {"empty object", {{"config.json", "{ }", 0, false}}, {{0}}, KP_OK, "{ \"kplan_container\""},
    {"no object", {{"config.json", "[1]\n", 0, false}}, {{0}}, KP_OK, "[1]"},
    {"version in the text", {{"config.json", "{\"a\": {\"b\": 1}, \"keras_version\": \"2\"}", 0, false}, {"metadata.json", METADATA, 0, false}}, {{0}}, KP_OK, "\"2\",\"kplan_container\""},
    {"asset", {{"config.json", CONFIG, 0, false}, {"assets/vocabulary.txt", "a b c", 0, true}, {"assets/", "", 0, false}}, {{0}}, KP_OK, "Sequential"},
    {"weights that are none", {{"config.json", CONFIG, 0, false}, {"model.weights.h5", "abc", 0, false}}, {{0}}, KP_OK, "\"warnings\":[\"the weights' names and shapes cannot be read: it is no HDF5 file\"]"},
    {"weights packed", {{"config.json", CONFIG, 0, false}, {"model.weights.h5", "abc", 0, true}}, {{0}}, KP_OK, "cannot be read: entry 'model.weights.h5' is packed"},
    {"local header of a stream", {{"config.json", CONFIG, 0, true}}, {{TEST_LOCAL, 0, L_FLAGS, 2, 8}, {TEST_CENTRAL, 0, C_FLAGS, 2, 8}, {TEST_LOCAL, 0, L_WHOLE, 4, 0}}, KP_OK, "Sequential"},
    {"no entries", {{0}}, {{0}}, KP_INPUT, "no 'config.json'"},
    {"no config", {{"a.txt", "a", 0, false}}, {{0}}, KP_INPUT, "no 'config.json'"},
    {"two configs", {{"config.json", CONFIG, 0, false}, {"config.json", CONFIG, 0, false}}, {{0}}, KP_INPUT, "two entries called 'config.json'"},
    {"two pickles", {{"config.json", CONFIG, 0, false}, {"model.weights.npz", "a", 0, false}, {"model.weights.npz", "b", 0, false}}, {{0}}, KP_INPUT, "two entries called 'model.weights.npz'"},
    {"metadata is no JSON", {{"config.json", CONFIG, 0, false}, {"metadata.json", "{", 0, false}}, {{0}}, KP_INPUT, "ends too early"},
    {"archive inside", {{"inner.zip", "PK", 0, false}}, {{0}}, KP_INPUT, "another archive in it"},
    {"folder inside", {{"model/config.json", CONFIG, 0, false}}, {{0}}, KP_INPUT, "'config.json' in a folder"},
    {"PyTorch", {{"archive/data.pkl", "x", 0, false}}, {{0}}, KP_UNSUPPORTED, "a PyTorch checkpoint"},
    {"NumPy", {{"arr_0.npy", "x", 0, false}}, {{0}}, KP_INPUT, "a NumPy archive"},
    {"up", {{"config.json", CONFIG, 0, false}, {"../etc/passwd", "a", 0, false}}, {{0}}, KP_INPUT, "'../etc/passwd' leads out"},
    {"up in the middle", {{"a/../../b", "a", 0, false}}, {{0}}, KP_INPUT, "leads out"},
    {"up at the end", {{"a\\..", "a", 0, false}}, {{0}}, KP_INPUT, "leads out"},
    {"absolute", {{"/etc/passwd", "a", 0, false}}, {{0}}, KP_INPUT, "leads out"},
    {"drive", {{"c:windows", "a", 0, false}}, {{0}}, KP_INPUT, "leads out"},
    {"backslash", {{"\\windows", "a", 0, false}}, {{0}}, KP_INPUT, "leads out"},
    {"dots in a name", {{"config.json", CONFIG, 0, false}, {"a..b/...", "a", 0, false}}, {{0}}, KP_OK, "Sequential"},
    {"NUL in a name", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_TEXT + 6, 1, 0}}, KP_INPUT, "control bytes"},
    {"encrypted", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_FLAGS, 2, 1}}, KP_INPUT, "'config.json' is encrypted"},
    {"other entry encrypted", {{"config.json", CONFIG, 0, false}, {"b", "b", 0, false}}, {{TEST_CENTRAL, 1, C_FLAGS, 2, 1}}, KP_INPUT, "'b' is encrypted"},
    {"encrypted in its header", {{"config.json", CONFIG, 0, false}}, {{TEST_LOCAL, 0, L_FLAGS, 2, 1}}, KP_INPUT, "differ in method"},
    {"method", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_METHOD, 2, 14}, {TEST_LOCAL, 0, L_METHOD, 2, 14}}, KP_INPUT, "method 14"},
    {"methods differ", {{"config.json", CONFIG, 0, true}}, {{TEST_LOCAL, 0, L_METHOD, 2, 0}}, KP_INPUT, "differ in method"},
    {"check sum", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_CRC, 4, 7}, {TEST_LOCAL, 0, 14, 4, 7}}, KP_INPUT, "check sum differs"},
    {"stored and two sizes", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_WHOLE, 4, 7}}, KP_INPUT, "differ in size"},
    {"larger than it says", {{"config.json", CONFIG, 0, true}}, {{TEST_CENTRAL, 0, C_WHOLE, 4, 7}, {TEST_LOCAL, 0, L_WHOLE, 4, 7}}, KP_INPUT, "unpacks to more than 7 B"},
    {"smaller than it says", {{"config.json", CONFIG, 0, true}}, {{TEST_CENTRAL, 0, C_WHOLE, 4, 99}, {TEST_LOCAL, 0, L_WHOLE, 4, 99}}, KP_INPUT, "unpacks to less than it says"},
    {"shorter packed", {{"config.json", CONFIG, 0, true}, {"b", "b", 0, false}}, {{TEST_CENTRAL, 0, C_PACKED, 4, 9}, {TEST_LOCAL, 0, 18, 4, 9}}, KP_INPUT, "cut off"},
    {"packed over the next", {{"config.json", CONFIG, 0, false}, {"b", "b", 0, false}}, {{TEST_CENTRAL, 0, C_PACKED, 4, 99}, {TEST_CENTRAL, 0, C_WHOLE, 4, 99}}, KP_INPUT, "overlaps"},
    {"one data for two names", {{"config.json", CONFIG, 0, false}, {"b", CONFIG, 0, false}}, {{TEST_CENTRAL, 1, C_AT, 4, 0}}, KP_INPUT, "overlaps"},
    {"over the directory", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_AT, 4, 90}}, KP_INPUT, "overlaps"},
    {"names differ", {{"config.json", CONFIG, 0, false}}, {{TEST_LOCAL, 0, L_TEXT, 1, 'X'}}, KP_INPUT, "differ in name"},
    {"extra field over the next", {{"config.json", CONFIG, 0, false}}, {{TEST_LOCAL, 0, L_EXTRA, 2, 900}}, KP_INPUT, "differ in place"},
    {"no local header", {{"b", "b", 0, false}, {"config.json", CONFIG, 0, false}}, {{TEST_LOCAL, 1, 3, 1, 9}}, KP_INPUT, "is not where"},
    {"more entries than it says", {{"config.json", CONFIG, 0, false}, {"b", "b", 0, false}}, {{TEST_END, 0, E_ENTRIES, 2, 1}, {TEST_END, 0, E_HERE, 2, 1}}, KP_INPUT, "more entries than it says"},
    {"fewer entries than it says", {{"config.json", CONFIG, 0, false}, {"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "b", 0, false}}, {{TEST_END, 0, E_ENTRIES, 2, 3}, {TEST_END, 0, E_HERE, 2, 3}}, KP_INPUT, "fewer entries than it says"},
    {"many entries", {{"config.json", CONFIG, 0, false}}, {{TEST_END, 0, E_ENTRIES, 2, 60000}, {TEST_END, 0, E_HERE, 2, 60000}}, KP_INPUT, "too short for its entries"},
    {"directory elsewhere", {{"config.json", CONFIG, 0, false}}, {{TEST_END, 0, E_AT, 4, 3}}, KP_INPUT, "not where it should be"},
    {"directory behind the end", {{"config.json", CONFIG, 0, false}}, {{TEST_END, 0, E_AT, 4, 70000}}, KP_INPUT, "not where it should be"},
    {"longer directory", {{"config.json", CONFIG, 0, false}}, {{TEST_END, 0, E_BYTES, 4, 90}}, KP_INPUT, "not where it should be"},
    {"zip64 without a record", {{"config.json", CONFIG, 0, false}}, {{TEST_END, 0, E_AT, 4, UINT32_MAX}}, KP_INPUT, "zip64 record is missing"},
    {"zip64 without a field", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_WHOLE, 4, UINT32_MAX}}, KP_INPUT, "zip64 field is missing"},
    {"extra field cut off", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_NAME, 2, 7}, {TEST_CENTRAL, 0, C_EXTRA, 2, 4}, {TEST_CENTRAL, 0, C_WHOLE, 4, UINT32_MAX}}, KP_INPUT, "zip64 field is missing"},
    {"parts", {{"config.json", CONFIG, 0, false}}, {{TEST_END, 0, E_DISK, 2, 1}}, KP_INPUT, "one part of several"},
    {"comment past the end", {{"config.json", CONFIG, 0, false}}, {{TEST_END, 0, E_COMMENT, 2, 5}}, KP_INPUT, "cut off"},
    {"name past the directory", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_NAME, 2, 1000}}, KP_INPUT, "ends within an entry"},
    {"long name", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_NAME, 2, 1025}}, KP_INPUT, "name of 1025 bytes, more than 1024"},
    {"extra past the directory", {{"config.json", CONFIG, 0, false}}, {{TEST_CENTRAL, 0, C_EXTRA, 2, 1000}}, KP_INPUT, "ends within an entry"},
    {"ratio said", {{"config.json", CONFIG, 0, false}, {"b", "b", 0, true}}, {{TEST_CENTRAL, 1, C_WHOLE, 4, 2000000}}, KP_INPUT, "'b' unpacks to more than 200 times"},
};
/* clang-format on */

Test(zip, archives)
{
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_buf zip = test_zip(rows[i].entries, KP_LEN(rows[i].entries), rows[i].patches, KP_LEN(rows[i].patches));
        test_reading r = test_read(zip.data, zip.len), pieces = test_read_pieces(zip.data, zip.len);
        cr_expect_eq(r.status, rows[i].status, "%s: %s: %s", rows[i].what, r.err.where, r.err.msg);
        const char *said = r.status ? r.err.msg : r.text;
        cr_expect(strstr(said, rows[i].want), "%s: %s", rows[i].what, said);
        cr_expect_str_eq(r.status ? pieces.err.msg : pieces.text, said, "%s", rows[i].what);
        test_reading_free(&r);
        test_reading_free(&pieces);
        kp_buf_release(&zip);
    }
}

/* An archive cut at any 50th is refused. */
Test(zip, truncated)
{
    const test_entry entries[] = {{"config.json", CONFIG, 0, true}, {"metadata.json", METADATA, 0, false}};
    kp_buf zip = test_zip(entries, KP_LEN(entries), NULL, 0);
    for (unsigned part = 1; part < 50; part++) {
        test_reading r = test_read(zip.data, zip.len * part / 50);
        bool head = zip.len * part / 50 >= 4; /* below, nobody can tell what it is */
        cr_expect_eq(r.status, head ? KP_INPUT : KP_OK, "%u/50: %s", part, r.err.msg);
        test_reading_free(&r);
    }
    kp_buf_release(&zip);
}

/* Content that packs well, said truly. */
static char *repeated(size_t n, char c)
{
    char *bytes = malloc(n + 1);
    cr_assert_not_null(bytes);
    memset(bytes, c, n);
    bytes[n] = 0;
    return bytes;
}

static const struct {
    const char *name;
    size_t n;
    bool deflated, noisy;
    kp_status status;
    const char *want;
} bombs[] = {
    {"config.json", 100 << 10, true, false, KP_OK, "    "},
    {"config.json", (1 << 20) + 1, true, false, KP_INPUT, "more than 200 times"},
    {"config.json", 20 << 20, true, false, KP_INPUT, "more than 200 times"},
    {"config.json", 9 << 20, true, true, KP_INPUT, "unpacks to 9.0 MiB, more than 8.0 MiB"},
    {"config.json", 7 << 20, true, true, KP_OK, "    "},
    {"metadata.json", (1 << 20) + 1, false, false, KP_INPUT, "has 1.0 MiB, more than 1.0 MiB"},
    {"assets/a", 20 << 20, true, false, KP_INPUT, "'assets/a' unpacks to more than 200 times"},
};

Test(zip, bombs)
{
    for (size_t i = 0; i < KP_LEN(bombs); i++) {
        char *bytes = repeated(bombs[i].n, ' ');
        for (size_t k = 0; bombs[i].noisy && k < bombs[i].n; k += 97) bytes[k] = (char)('a' + k * 2654435761u % 26);
        bool config = !strcmp(bombs[i].name, "config.json");
        const test_entry entries[] = {{bombs[i].name, bytes, bombs[i].n, bombs[i].deflated},
                                      {config ? "a" : "config.json", CONFIG, 0, false}};
        kp_buf zip = test_zip(entries, 2, NULL, 0);
        test_reading r = test_read(zip.data, zip.len);
        cr_expect_eq(r.status, bombs[i].status, "row %zu: %s", i, r.err.msg);
        cr_expect(strstr(r.status ? r.err.msg : r.text, bombs[i].want), "row %zu: %s", i, r.err.msg);
        cr_expect_leq(r.used_bytes, 24u << 20, "row %zu", i);
        test_reading_free(&r);
        kp_buf_release(&zip);
        free(bytes);
    }
}
