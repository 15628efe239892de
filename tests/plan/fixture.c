/* SPDX-License-Identifier: MIT */
#include "tests/plan/fixture.h"
#include "planner/cli/cli.h"
#include <criterion/criterion.h>
#include <jansson.h>

void kp_fixture_init(kp_fixture *f, const char *file)
{
    char path[160];
    kp_err err = {0};
    memset(f, 0, sizeof(*f));
    kp_arena_init(&f->arena, 0);
    kp_schema_init(&kp_schema_options, &f->options);
    cr_assert_eq(kp_gpu_table(&f->arena, &f->gpus, &err), KP_OK);
    snprintf(path, sizeof(path), "tests/data/%.120s", file);
    char *text = kp_arena_str(&f->arena, file); /* documents are written with single quotes */
    for (char *at = text; (at = strchr(at, '\'')) != NULL; at++) *at = '"';
    json_t *json = file[0] == '{' ? json_loads(text, 0, NULL) : json_load_file(path, 0, NULL);
    cr_assert(json != NULL, "%.100s", file);
    f->text = json_dumps(json, JSON_COMPACT);
    f->len = strlen(f->text);
    json_decref(json);
}

kp_status kp_fixture_make(kp_fixture *f, kp_err *err)
{
    kp_explain_request request = {f->text, f->len, "model.json", &f->options, &f->gpus};
    return kp_explain_make(&request, &f->arena, &f->x, err);
}

void kp_fixture_explain(kp_fixture *f)
{
    kp_err err = {0};
    cr_assert_eq(kp_fixture_make(f, &err), KP_OK, "%s: %s", err.where, err.msg);
}

void kp_fixture_done(kp_fixture *f)
{
    kp_arena_release(&f->arena);
    free(f->text);
}

void kp_fixture_set(kp_fixture *f, const char *options)
{
    kp_values values;
    char *text = kp_arena_str(&f->arena, options);
    kp_values_init(&values);
    values.options = f->options;
    for (char *at = text; *at;) {
        kp_err err = {0};
        char *flag = at + 2, *value = strchr(at, ' ');
        cr_assert(value != NULL, "%s", options);
        *value++ = 0;
        at = value + strcspn(value, " ");
        if (*at) *at++ = 0;
        const kp_option *option = kp_option_find(flag);
        cr_assert(option != NULL, "%s", flag);
        cr_assert_eq(kp_option_set(option, value, &values, &f->arena, &err), KP_OK, "--%s %s: %s",
                     flag, value, err.msg);
    }
    f->options = values.options;
}

const kp_explain_culprit *kp_fixture_culprit(const kp_fixture *f, const char *rule,
                                             const char *layer)
{
    for (uint32_t i = 0; i < f->x.n_culprits; i++) {
        const kp_explain_culprit *c = &f->x.culprits[i];
        if (!strcmp(c->rule, rule) && (!layer || (c->layer && !strcmp(c->layer, layer)))) return c;
    }
    return NULL;
}

const kp_explain_remedy *kp_fixture_remedy(const kp_fixture *f, const char *rule)
{
    for (uint32_t i = 0; i < f->x.n_remedies; i++)
        if (!strcmp(f->x.remedies[i].rule, rule)) return &f->x.remedies[i];
    return NULL;
}
