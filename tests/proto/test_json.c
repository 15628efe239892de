/* SPDX-License-Identifier: MIT */
#include "proto/json.h"
#include <criterion/criterion.h>

static const struct {
    const char *text, *want; /* the document as jansson prints it */
} good[] = {
    {"{}", "{}"},
    {"\xef\xbb\xbf [1, 2.5, \"a\"]\n", "[1,2.5,\"a\"]"},
    {"{\"z\":1,\"a\":2,\"m\":[true,false,null]}", "{\"z\":1,\"a\":2,\"m\":[true,false,null]}"},
    {"[NaN,Infinity,-Infinity,-1]", "[null,null,null,-1]"},
    {"{\"NaN\":NaN,\"x\":\"NaN, \\\"-Infinity\\\"\"}", "{\"NaN\":null,\"x\":\"NaN, \\\"-Infinity\\\"\"}"},
    {"[9223372036854775807,-9223372036854775808]", "[9223372036854775807,-9223372036854775808]"},
};

Test(json, reads)
{
    for (size_t i = 0; i < KP_LEN(good); i++) {
        kp_err err = {0};
        json_t *json = NULL;
        cr_expect_eq(kp_json_parse(good[i].text, strlen(good[i].text), &json, &err), KP_OK,
                     "row %zu: %s: %s", i, err.where, err.msg);
        char *text = json_dumps(json, JSON_COMPACT);
        cr_expect_str_eq(text ? text : "", good[i].want, "row %zu", i);
        free(text);
        json_decref(json);
    }
}

static const struct {
    const char *text, *where, *msg;
} bad[] = {
    {"", "", "empty"},
    {" \n\t", "", "empty"},
    {"\x89HDF\r\n", "line 1, column 1", "starts with byte 0x89"},
    {"\n  true", "line 2, column 3", "starts with 'true'"},
    {"{\"a\": 1", "line 1, column 8", "ends too early: 1 brackets"},
    {"{\"a\": [1, 2\n", "line 2, column 1", "ends too early: 2 brackets"},
    {"{\"a\": \"long stri", "line 1, column 17", "ends too early"},
    {"[1, tru", "line 1, column 8", "ends too early"},
    {"{\"a\" 1}", "line 1, column 6", "':' expected, '1' found"},
    {"{\"a\": 1,\n \"b\": two}", "line 2, column 7", "a value expected, 'two' found"},
    {"{\"a\": 1 \"b\": 2}", "line 1, column 9", "',' or '}' expected, '\"b\"' found"},
    {"[1 2]", "line 1, column 4", "',' or ']' expected, '2' found"},
    {"{'a': 1}", "line 1, column 2", "a key in double quotes expected"},
    {"{\"a\": 1,}", "line 1, column 9", "found"},
    {"[1,2] x", "line 1, column 7", "nothing more expected, 'x' found"},
    {"{\"a\":1,\n\"b\":2,\"a\":3}", "line 2, column 7", "key '\"a\"' stands twice"},
    {"[123456789012345678901]", "line 1, column 2", "number '12345678901234567890...' is too large"},
    {"[1e999]", "line 1, column 2", "number '1e999' is too large"},
    {"[\"\xff\"]", "line 1, column 3", "invalid UTF-8: byte 0xff"},
    {"[NaN,NaN,NaN,x]", "line 1, column 14", "a value expected, 'x' found"},
    {"[\"\xc3\xa4\xc3\xb6\", x]", "line 1, column 8", "'x' found"},
    {"[NaNx]", "line 1, column 2", "a value expected, 'NaNx' found"},
    {"[\"a\\u0000b\"]", "line 1", "u0000"},
    {"]", "line 1, column 1", "starts with ']'"},
    {"nothing\r\nhere", "line 1, column 1", "starts with 'nothing', not"},
    {"[}", "line 1, column 2", "a value expected, '}' found"},
};

Test(json, refuses)
{
    for (size_t i = 0; i < KP_LEN(bad); i++) {
        kp_err err = {0};
        json_t *json = NULL;
        cr_expect_eq(kp_json_parse(bad[i].text, strlen(bad[i].text), &json, &err), KP_INPUT,
                     "row %zu: read", i);
        cr_expect_null(json, "row %zu", i);
        cr_expect_eq(strncmp(err.where, bad[i].where, strlen(bad[i].where)), 0, "row %zu: at '%s'", i, err.where);
        cr_expect(strstr(err.msg, bad[i].msg), "row %zu: '%s'", i, err.msg);
    }
}

/* Hostile sizes: the text is a repeated piece. */
static const struct {
    const char *piece;
    size_t times;
    kp_status status;
    const char *msg;
} large[] = {
    {"[", KP_JSON_DEPTH_MAX, KP_INPUT, "ends too early: 512"},
    {"[", 200u << 20, KP_INPUT, "more than 512 brackets"},
    {"{\"a\":", 600, KP_INPUT, "more than 512 brackets"},
    {"[                               ", 100, KP_INPUT, "ends too early"},
    {"{},", 10u << 20, KP_INPUT, "too much memory"},
    {"0,", 40u << 20, KP_INPUT, "longer than the 64.0 MiB"},
};

Test(json, limits)
{
    for (size_t i = 0; i < KP_LEN(large); i++) {
        size_t n = strlen(large[i].piece), len = n * large[i].times;
        char *text = malloc(len + 1);
        cr_assert(text);
        for (size_t at = 0; at < len; at += n) memcpy(text + at, large[i].piece, n);
        kp_err err = {0};
        json_t *json = NULL;
        if (text[0] == '{' || text[0] == '0') text[0] = text[1] == '}' || text[0] == '0' ? '[' : '{';
        if (large[i].piece[1] == '}') text[1] = ' ';
        if (text[0] == '[' && text[1] == ',') text[1] = '0';
        cr_expect_eq(kp_json_parse(text, len, &json, &err), large[i].status, "row %zu", i);
        cr_expect(strstr(err.msg, large[i].msg), "row %zu: '%s'", i, err.msg);
        free(text);
    }
}
