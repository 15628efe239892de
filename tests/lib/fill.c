/* SPDX-License-Identifier: MIT */
#include "tests/lib/fill.h"
#include <assert.h>

typedef struct filler {
    kp_arena *arena;
    unsigned next, depth;
    bool bare;
} filler;

static void fill_struct(filler *f, const kp_schema *schema, void *value);

static kp_shape shape(filler *f)
{
    kp_shape s = {.rank = (uint8_t)(f->next % 5)};
    for (unsigned i = 0; i < s.rank; i++) s.dim[i] = (int64_t)f->next * 10 + i;
    if (s.rank > 1 && f->next % 2) {
        s.per_sample = 1;
        s.dim[0] = 1;
    }
    if (s.rank > 2) s.dim[2] = KP_DIM_OPEN;
    return s;
}

static void fill_value(filler *f, const kp_field *field, kp_field_type type, void *at)
{
    static const char *const texts[] = {"plain", "quote \" and \\", "tab\tline\n\x01", "h\xc3\xa4ngt", ""};
    unsigned n = ++f->next;
    switch (type) {
    case KP_F_BOOL: *(bool *)at = n & 1; break;
    case KP_F_U32: *(uint32_t *)at = n % 7 ? n : UINT32_MAX - 1; break;
    case KP_F_U64: *(uint64_t *)at = n % 5 ? n * 1000003ull : (uint64_t)INT64_MAX - n; break;
    case KP_F_I64: *(int64_t *)at = n % 2 ? -(int64_t)n : INT64_MIN + 1; break;
    case KP_F_F64: *(double *)at = n % 3 ? n / 7. : n * 1e300; break;
    case KP_F_STR: *(const char **)at = kp_arena_fmt(f->arena, "%s %u", texts[n % 5], n); break;
    case KP_F_ENUM:
        do *(unsigned *)at = n++ % field->n_names;
        while (!field->names[*(unsigned *)at]);
        break;
    case KP_F_DIMS: *(kp_shape *)at = shape(f); break;
    case KP_F_BYTES:
        *(kp_bytes *)at = (kp_bytes){.data = (uint8_t *)kp_arena_fmt(f->arena, "bytes %u", n)};
        ((kp_bytes *)at)->len = (uint32_t)strlen((const char *)((kp_bytes *)at)->data);
        break;
    case KP_F_STRUCT: fill_struct(f, field->sub, at); break;
    case KP_F_PTR:
        *(void **)at = kp_arena_alloc(f->arena, 1, field->sub->size);
        fill_struct(f, field->sub, *(void **)at);
        break;
    default: assert(!"a type that the filler does not know");
    }
}

static void fill_items(filler *f, const kp_field *field, char *value)
{
    static const struct {
        kp_field_type item;
        size_t size;
    } kinds[KP_F_COUNT] = {
        [KP_F_LIST] = {KP_F_STRUCT, 0},
        [KP_F_MAP] = {KP_F_STRUCT, 0},
        [KP_F_STRS] = {KP_F_STR, sizeof(char *)},
        [KP_F_U32S] = {KP_F_U32, sizeof(uint32_t)},
        [KP_F_DIMSES] = {KP_F_DIMS, sizeof(kp_shape)},
    };
    uint32_t n = f->depth > 6 ? 0 : 2;
    size_t size = kinds[field->type].size ? kinds[field->type].size : field->sub->size;
    char *items = kp_arena_alloc(f->arena, n, size);
    for (uint32_t i = 0; i < n; i++) fill_value(f, field, kinds[field->type].item, items + i * size);
    memcpy(value + field->offset, &items, sizeof(items));
    memcpy(value + field->count_offset, &n, sizeof(n));
}

static void fill_struct(filler *f, const kp_schema *schema, void *value)
{
    f->depth++;
    kp_schema_init(schema, value);
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        const kp_field *field = &schema->fields[i];
        char *at = (char *)value + field->offset;
        if (field->flags && f->bare) continue;
        switch (field->type) {
        case KP_F_LIST:
        case KP_F_MAP:
        case KP_F_STRS:
        case KP_F_U32S:
        case KP_F_DIMSES: fill_items(f, field, value); break;
        case KP_F_U32_ARRAY:
            for (uint32_t j = 0; j < field->n_items; j++)
                fill_value(f, field, KP_F_U32, at + j * sizeof(uint32_t));
            break;
        default: fill_value(f, field, field->type, at);
        }
    }
    f->depth--;
}

void test_fill(const kp_schema *schema, void *value, kp_arena *arena, unsigned seed, bool bare)
{
    filler f = {.arena = arena, .next = seed, .bare = bare};
    fill_struct(&f, schema, value);
}
