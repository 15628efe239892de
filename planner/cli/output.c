/* SPDX-License-Identifier: MIT */
#include "planner/cli/output.h"
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Bytes of the printable UTF-8 character at s; 0 if a control or no character stands there. */
static size_t printable(const unsigned char *s, size_t len)
{
    if (s[0] < 0x80) return s[0] >= 0x20 && s[0] != 0x7f;
    size_t n = s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    bool c1 = s[0] == 0xc2 && len > 1 && s[1] < 0xa0; /* U+0080..U+009F are controls too */
    return n && n <= len && !c1 && kp_text_ok((const char *)s, n) ? n : 0;
}

void kp_escape_text(const char *text, size_t len, bool lines, kp_buf *out)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        size_t from = i, n;
        while (i < len && ((n = printable(s + i, len - i)) || (lines && s[i] == '\n')))
            i += n ? n : 1;
        kp_buf_add(out, text + from, i - from);
        if (i < len) kp_buf_fmt(out, "\\x%02x", s[i++]);
    }
}

void kp_escape_json(const char *text, size_t len, kp_buf *out)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        bool c1 = s[i] == 0xc2 && i + 1 < len && s[i + 1] < 0xa0;
        if (s[i] != 0x7f && !c1) continue;
        kp_buf_add(out, text + from, i - from);
        i += c1;
        kp_buf_fmt(out, "\\u%04x", s[i]);
        from = i + 1;
    }
    kp_buf_add(out, text + from, len - from);
}

kp_status kp_write_all(int fd, const char *bytes, size_t len, kp_err *err)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return kp_fail(err, KP_IO, "standard output: %s", strerror(errno));
        bytes += n;
        len -= (size_t)n;
    }
    return KP_OK;
}

unsigned kp_cli_width(void)
{
    struct winsize size;
    uint64_t columns;
    if (!isatty(STDOUT_FILENO)) return 0;
    const char *text = getenv("COLUMNS");
    if (text && !kp_parse_u64(text, 1, 10000, &columns, NULL)) return (unsigned)columns;
    if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col) return size.ws_col;
    return 80;
}

kp_status kp_cli_json(kp_cli *cli, const kp_schema *schema, const void *value, kp_err *err)
{
    KP_TRY(kp_schema_print(schema, value, &cli->out, err));
    kp_buf_char(&cli->out, '\n');
    return KP_OK;
}

static void escaped(kp_buf *out, const char *before, const char *text, const char *after)
{
    kp_buf_str(out, before);
    kp_escape_text(text, strlen(text), false, out);
    kp_buf_str(out, after);
}

void kp_cli_messages(const kp_cli *cli, kp_status status, const kp_err *err, kp_buf *out)
{
    if (status) {
        kp_buf_str(out, "kplan: ");
        if (err->where[0]) escaped(out, "", err->where, ": ");
        escaped(out, "", err->msg[0] ? err->msg : kp_status_text(status), "\n");
    }
    for (uint32_t i = 0; i < cli->n_warnings; i++) {
        const kp_warning *warning = &cli->warnings[i];
        kp_buf_str(out, "warning: ");
        if (warning->layer) escaped(out, "layer '", warning->layer, "': ");
        escaped(out, "", warning->message ? warning->message : "", "\n");
    }
    if (status && err->hint[0]) escaped(out, "hint: ", err->hint, "\n");
}

kp_status kp_cli_error_json(const kp_cli *cli, const kp_err *failure, kp_buf *out, kp_err *err)
{
    kp_error_msg msg = {.error = {
        .code = kp_status_name(failure->code),
        .message = failure->msg,
        .where = failure->where[0] ? failure->where : NULL,
        .hint = failure->hint[0] ? failure->hint : NULL,
        .details = cli->refusal,
    }};
    KP_TRY(kp_schema_print(&kp_schema_error, &msg, out, err));
    kp_buf_char(out, '\n');
    return KP_OK;
}
