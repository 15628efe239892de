/* SPDX-License-Identifier: MIT
 *
 * HDF5 files of every layout that h5py writes, the same model in each; damaged ones. */
#include "files.h"
#include <criterion/criterion.h>

static const struct {
    const char *file;
    const char *has[4]; /* parts of the text */
    unsigned weights;
} files[] = {
    {"earliest",
     {"\"path\":\"model_weights/d1/d1/kernel:0\",\"shape\":[4,2],\"dtype\":\"float32\"",
      "\"keras_version\":\"2.4.3\"", "\"class_name\": \"RMSprop\""},
     4},
    {"fixed",
     {"\"path\":\"model_weights/d0/d0/bias:0\",\"shape\":[4]", "\"keras_version\":\"2.4.3\"",
      "RMSprop"},
     4},
    {"latest",
     {"\"path\":\"model_weights/d0/d0/kernel:0\",\"shape\":[8,4]", "\"keras_version\":\"2.4.3\"",
      "RMSprop"},
     4},
    {"dense_attributes",
     {"\"path\":\"model_weights/d0/d0/kernel:0\"", "xxx\"},\"", "\"keras_version\":\"2.4.3\"",
      "RMSprop"},
     4},
    {"many_attributes",
     {"\"path\":\"model_weights/d0/d0/kernel:0\"", "\"keras_version\":\"2.4.3\"", "RMSprop"},
     4},
    {"many_earliest", {"\"path\":\"model_weights/k0\"", "\"path\":\"model_weights/k299\""}, 300},
    {"many_latest", {"\"path\":\"model_weights/k0\"", "\"path\":\"model_weights/k1499\""}, 1500},
    {"tracked", {"\"path\":\"model_weights/k0\"", "\"path\":\"model_weights/k39\""}, 40},
    {"fan", {"the HDF5 file has more than 24.0 MiB of structures, or they form a cycle"}, 0},
    {"loop",
     {"\"warnings\":[\"the weights' names and shapes cannot be read: groups are nested deeper than "
      "32, or form a cycle\"]"},
     0},
};

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    while ((text = strstr(text, what))) {
        n++;
        text += strlen(what);
    }
    return n;
}

static kp_source open_file(const char *name, kp_arena *arena)
{
    char path[64];
    snprintf(path, sizeof(path), "hdf5/%s.h5.gz", name);
    return test_unpacked(path, arena);
}

Test(hdf5, layouts)
{
    for (size_t i = 0; i < KP_LEN(files); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_source file = open_file(files[i].file, &arena);
        test_reading r = test_read(file.bytes, file.size),
                     pieces = test_read_pieces(file.bytes, file.size);
        cr_expect_eq(r.status, KP_OK, "%s: %s: %s", files[i].file, r.err.where, r.err.msg);
        cr_expect_str_eq(r.text, pieces.text, "%s", files[i].file);
        for (size_t k = 0; k < 4 && files[i].has[k]; k++)
            cr_expect(strstr(r.text, files[i].has[k]), "%s: no %s in %s", files[i].file,
                      files[i].has[k], r.text);
        cr_expect_eq(count(r.text, "{\"path\":"), files[i].weights, "%s", files[i].file);
        cr_expect(!strstr(r.text, "optimizer_weights"), "%s", files[i].file);
        test_reading_free(&r);
        test_reading_free(&pieces);
        kp_arena_release(&arena);
    }
}

Test(hdf5, weights_without_a_model_are_refused)
{
    kp_buf file = test_file("hdf5/weights_only.h5.gz");
    test_reading r = test_read(file.data, file.len);
    cr_expect_eq(r.status, KP_INPUT);
    cr_expect(strstr(r.err.msg, "holds weights only (4 arrays)"), "%s", r.err.msg);
    cr_expect(strstr(r.err.hint, "model.save"), "%s", r.err.hint);
    test_reading_free(&r);
    kp_buf_release(&file);
}

/* A file cut at any 50th is refused: it says itself how long it is. */
Test(hdf5, truncated)
{
    for (size_t i = 0; i < KP_LEN(files); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_source file = open_file(files[i].file, &arena);
        for (unsigned part = 1; part < 50; part++) {
            test_reading r = test_read(file.bytes, file.size * part / 50);
            cr_expect_eq(r.status, KP_INPUT, "%s, %u/50: %s", files[i].file, part, r.err.msg);
            cr_expect(r.err.msg[0]);
            test_reading_free(&r);
        }
        kp_arena_release(&arena);
    }
}

/* Every structure's every field, as addresses that lead back, nowhere or anywhere: an answer or a
 * message, in bounded memory. */
static void lie(const char *name, uint8_t *bytes, size_t n, size_t at)
{
    const uint64_t lies[] = {at, 0, UINT64_MAX, n - 1, (uint64_t)1 << 40};
    for (size_t field = 4; field < 48 && at + field + 8 <= n; field++) {
        for (size_t i = 0; i < KP_LEN(lies); i++) {
            uint8_t kept[8];
            memcpy(kept, bytes + at + field, 8);
            memcpy(bytes + at + field, &lies[i], 8);
            test_reading r = test_read(bytes, n);
            bool known = r.status == KP_OK || (r.status == KP_INPUT && r.err.msg[0]);
            cr_expect(known, "%s: byte %zu + %zu, lie %zu: %s", name, at, field, i,
                      kp_status_name(r.status));
            test_reading_free(&r);
            memcpy(bytes + at + field, kept, 8);
        }
    }
}

Test(hdf5, structures_that_lie)
{
    static const char *const names[] = {"earliest", "latest", "dense_attributes", "tracked"};
    static const char *const signatures[] = {"TREE", "SNOD", "HEAP",   "GCOL", "OHDR",
                                             "OCHK", "FRHP", "FHDB",   "FHIB", "BTHD",
                                             "BTLF", "BTIN", "\x89HDF"};
    unsigned seen = 0;
    for (size_t i = 0; i < KP_LEN(names); i++) {
        kp_arena arena;
        kp_arena_init(&arena, 0);
        kp_source file = open_file(names[i], &arena);
        uint8_t *bytes = kp_arena_alloc(&arena, (size_t)file.size, 1);
        memcpy(bytes, file.bytes, (size_t)file.size);
        for (size_t k = 0; k < KP_LEN(signatures); k++) {
            size_t at = 0;
            while (at + 4 < file.size && memcmp(bytes + at, signatures[k], 4)) at++;
            if (at + 4 >= file.size) continue;
            seen |= 1u << k;
            lie(names[i], bytes, (size_t)file.size, at);
        }
        kp_arena_release(&arena);
    }
    cr_expect_geq(__builtin_popcount(seen), 10, "%x", seen);
}
