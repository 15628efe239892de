/* SPDX-License-Identifier: MIT */
#include "tests/estimate/fixture.h"
#include <criterion/criterion.h>

void fixture_init(fixture *f)
{
    kp_err err = {0};
    memset(f, 0, sizeof(*f));
    kp_arena_init(&f->arena, 0);
    kp_schema_init(&kp_schema_options, &f->options);
    cr_assert_eq(kp_gpu_table(&f->arena, &f->gpus, &err), KP_OK, "%s: %s", err.where, err.msg);
}

static char *read_file(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file != NULL, "%s is missing", path);
    fseek(file, 0, SEEK_END);
    size_t len = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(len + 1);
    cr_assert(text && fread(text, 1, len, file) == len);
    text[len] = 0;
    fclose(file);
    *ret_len = len;
    return text;
}

kp_status fixture_read(const char *model, const kp_options *options, kp_arena *arena,
                       const kp_graph **ret, kp_err *err)
{
    kp_bind bind;
    char path[160];
    size_t len = strlen(model);
    char *text = NULL;
    snprintf(path, sizeof(path), "tests/data/%.120s", model);
    if (model[0] != '{') text = read_file(path, &len);
    kp_status status = kp_training_bind(options, arena, &bind, err);
    if (status == KP_OK)
        status = kp_model_read(text ? text : model, len, "m.json", &bind, arena, ret, err);
    free(text);
    return status;
}

void fixture_load(fixture *f, const char *model)
{
    kp_err err = {0};
    kp_status status = fixture_read(model, &f->options, &f->arena, &f->graph, &err);
    if (status == KP_OK)
        status = kp_training_resolve(f->graph, &f->options, &f->arena, &f->training, &err);
    if (status == KP_OK)
        status = kp_device_resolve(&f->gpus, &f->options, &f->arena, &f->device, &err);
    cr_assert_eq(status, KP_OK, "%.40s: %s: %s", model, err.where, err.msg);
}

kp_part fixture_part(const fixture *f, kp_strategy strategy)
{
    kp_part part = kp_part_whole(f->graph, &f->training);
    part.strategy = strategy;
    return part;
}

kp_memory fixture_memory(fixture *f, const kp_part *part)
{
    kp_err err = {0};
    kp_tape tape;
    kp_memory memory;
    kp_status status = kp_tape_make(f->graph, &f->training, part, &f->arena, &tape, &err);
    if (status == KP_OK)
        status = kp_memory_replay(&tape, &f->training, &f->device, &f->arena, &memory, &err);
    cr_assert_eq(status, KP_OK, "%s: %s", err.where, err.msg);
    return memory;
}

void fixture_free(fixture *f)
{
    kp_arena_release(&f->arena);
}
