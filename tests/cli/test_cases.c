/* SPDX-License-Identifier: MIT
 *
 * tests/cli/test_cases.c — runs the case files of tests/cases through the built programs (tests/cases/README
 * has the format). Each case runs in a folder of its own, in a shell, with a limit of time. */
#include "proto/json.h"
#include "proto/text.h"
#include "tests/lib/proc.h"
#include <criterion/criterion.h>
#include <glob.h>
#include <sys/resource.h>
#include <unistd.h>

#define CASE_S     "60"
#define LINES_MAX  24

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

typedef struct test_case {
    const char *file, *what, *cmd;
    int line; /* in the file */
    uint64_t exit_code, rss_mib;
    const char *json; /* the schema's name */
    const char *out_has[LINES_MAX], *err_has[LINES_MAX], *out_not[LINES_MAX], *json_is[LINES_MAX];
    bool out_empty, err_empty;
} test_case;

/* ---- expectations ---- */

/* The text of a value that stands at "error.details.binding.stage" or "layers.0.name". */
static char *json_at(const json_t *json, const char *path)
{
    char key[64];
    while (json && *path) {
        size_t len = strcspn(path, ".");
        snprintf(key, sizeof(key), "%.*s", (int)len, path);
        json = json_is_array(json) ? json_array_get(json, strtoull(key, NULL, 10)) : json_object_get(json, key);
        path += len + (path[len] == '.');
    }
    if (!json) return strdup("nothing");
    return json_is_string(json) ? strdup(json_string_value(json))
                                : json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
}

static void check_json(const test_case *c, const char *out)
{
    json_t *json = NULL;
    kp_err err = {0};
    size_t len = strlen(out);
    cr_expect(len && out[len - 1] == '\n' && !memchr(out, '\n', len - 1),
              "%s:%d: %s: stdout is not one line: %s", c->file, c->line, c->what, out);
    kp_status status = kp_json_parse(out, len, &json, &err);
    cr_expect(status == KP_OK, "%s:%d: %s: %s: %s", c->file, c->line, c->what, err.msg, out);
    if (status) return;
    const char *schema = json_string_value(json_object_get(json, "schema"));
    cr_expect(schema && !strcmp(schema, c->json), "%s:%d: %s: the schema is %s", c->file, c->line,
              c->what, schema ? schema : "absent");
    for (size_t i = 0; c->json_is[i]; i++) {
        const char *space = strchr(c->json_is[i], ' ');
        cr_assert(space, "%s:%d: json-is needs a path and a text", c->file, c->line);
        char *path = strndup(c->json_is[i], (size_t)(space - c->json_is[i]));
        char *got = json_at(json, path);
        cr_expect_str_eq(got, space + 1, "%s:%d: %s: %s is %s, not %s", c->file, c->line, c->what,
                         path, got, space + 1);
        free(path);
        free(got);
    }
    json_decref(json);
}

static void check_text(const test_case *c, const char *stream, const char *text,
                       const char *const *has, const char *const *not, bool empty)
{
    for (size_t i = 0; has && has[i]; i++)
        cr_expect(strstr(text, has[i]), "%s:%d: %s: %s has no '%s':\n%s", c->file, c->line, c->what,
                  stream, has[i], text);
    for (size_t i = 0; not && not[i]; i++)
        cr_expect(!strstr(text, not[i]), "%s:%d: %s: %s has '%s':\n%s", c->file, c->line, c->what,
                  stream, not[i], text);
    if (empty)
        cr_expect(!*text, "%s:%d: %s: %s is not empty:\n%s", c->file, c->line, c->what, stream, text);
}

static void run_case(const test_case *c, const kp_dir *dir)
{
    char cmd[8192], *out, *err;
    snprintf(cmd, sizeof(cmd), "cd %s && %s", dir->path, c->cmd);
    const char *const argv[] = {"timeout", "-k", "1", CASE_S, "sh", "-c", cmd, NULL};
    int code = kp_proc_run(dir, argv, NULL, 90, &out, &err);
    cr_expect_eq((uint64_t)code, c->exit_code, "%s:%d: %s: exit %d, not %d\nstdout: %s\nstderr: %s",
                 c->file, c->line, c->what, code, (int)c->exit_code, out, err);
    check_text(c, "stdout", out, c->out_has, c->out_not, c->out_empty);
    check_text(c, "stderr", err, c->err_has, NULL, c->err_empty);
    if (c->exit_code && !SANITIZED)
        cr_expect(!strncmp(err, "kplan", 5) || strstr(c->cmd, ";"),
                  "%s:%d: %s: the first line of stderr is: %s", c->file, c->line, c->what, err);
    if (c->json) check_json(c, out);
    if (c->rss_mib && !SANITIZED) {
        struct rusage usage;
        getrusage(RUSAGE_CHILDREN, &usage);
        cr_expect(usage.ru_maxrss <= (long)c->rss_mib * 1024, "%s:%d: %s: %ld KiB of memory",
                  c->file, c->line, c->what, usage.ru_maxrss);
    }
    free(out);
    free(err);
}

/* ---- the files ---- */

static void add_line(const test_case *c, const char **lines, const char *text)
{
    size_t n = 0;
    while (lines[n]) n++;
    cr_assert(n + 1 < LINES_MAX, "%s:%d: too many lines", c->file, c->line);
    lines[n] = text;
}

static void take_key(test_case *c, const char *key, const char *value)
{
    const struct {
        const char *key;
        const char **lines;
    } lists[] = {
        {"out-has", c->out_has}, {"err-has", c->err_has}, {"out-not", c->out_not}, {"json-is", c->json_is},
    };
    for (size_t i = 0; i < KP_LEN(lists); i++)
        if (!strcmp(key, lists[i].key)) {
            add_line(c, lists[i].lines, value);
            return;
        }
    if (!strcmp(key, "cmd")) c->cmd = value;
    else if (!strcmp(key, "json")) c->json = value;
    else if (!strcmp(key, "out-empty")) c->out_empty = true;
    else if (!strcmp(key, "err-empty")) c->err_empty = true;
    else if (!strcmp(key, "exit")) cr_assert(!kp_parse_u64(value, 0, 255, &c->exit_code, NULL));
    else if (!strcmp(key, "rss-mib")) cr_assert(!kp_parse_u64(value, 1, 4096, &c->rss_mib, NULL));
    else cr_assert_fail("%s:%d: unknown key '%s'", c->file, c->line, key);
}

static void finish_case(test_case *c, const kp_dir *dir, size_t *ran)
{
    if (!c->what) return;
    cr_assert(c->cmd, "%s:%d: a case without cmd", c->file, c->line);
    run_case(c, dir);
    ++*ran;
}

/* Text lines "| ..." after "file: NAME" are that file's content. */
static size_t run_file(const char *path, const kp_dir *dir)
{
    char *text = kp_file_text(path), *rest = text, *line;
    const char *slash = strrchr(path, '/');
    test_case c = {0};
    FILE *content = NULL;
    size_t ran = 0;
    for (int number = 1; rest && *rest; number++) {
        line = rest;
        rest = strchr(line, '\n');
        if (rest) *rest++ = 0;
        if (content && line[0] == '|') {
            fprintf(content, "%s\n", line + 1 + (line[1] == ' '));
            continue;
        }
        if (content) fclose(content);
        content = NULL;
        if (!*line || *line == '#') continue;
        char *colon = strchr(line, ':');
        cr_assert(colon, "%s:%d: no key", path, number);
        *colon = 0;
        const char *value = colon + 1 + (colon[1] == ' ');
        if (!strcmp(line, "what")) {
            finish_case(&c, dir, &ran);
            c = (test_case){.file = slash + 1, .line = number, .what = value};
        } else if (!strcmp(line, "file")) {
            char name[256];
            snprintf(name, sizeof(name), "%s/%s", dir->path, value);
            content = fopen(name, "w");
            cr_assert(content, "%s:%d: cannot write %s", path, number, name);
        } else {
            take_key(&c, line, value);
        }
    }
    if (content) fclose(content);
    finish_case(&c, dir, &ran);
    free(text);
    return ran;
}

static void prepare_environment(void)
{
    char here[1024], path[4096];
    kp_path program = kp_program("");
    cr_assert(getcwd(here, sizeof(here)));
    snprintf(path, sizeof(path), "%s%s%s:%s", program.s[0] == '/' ? "" : here,
             program.s[0] == '/' ? "" : "/", program.s, getenv("PATH"));
    setenv("PATH", path, 1);
    snprintf(path, sizeof(path), "%s/tests/data/models", here);
    setenv("MODELS", path, 1);
}

Test(cases, all)
{
    glob_t files;
    size_t ran = 0;
    cr_assert_eq(glob("tests/cases/*.case", 0, NULL, &files), 0, "no cases");
    prepare_environment();
    kp_dir dir = kp_dir_make();
    for (size_t i = 0; i < files.gl_pathc; i++) {
        size_t n = run_file(files.gl_pathv[i], &dir);
        cr_expect(n > 0, "%s has no case", files.gl_pathv[i]);
        ran += n;
    }
    cr_expect(ran > 60, "only %zu cases ran", ran);
    kp_dir_remove(&dir);
    globfree(&files);
}
