/* SPDX-License-Identifier: MIT */
#include "planner/cli/commands.h"
#include "planner/cli/output.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

static const char *process_env(const char *name)
{
    return getenv(name);
}

/* Ends at once: every command may be cut off at any point, the daemon keeps what it promised. */
static void interrupted(int signal_number)
{
    static const char text[] = "kplan: interrupted\n";
    (void)signal_number;
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)ignored;
    _exit(130);
}

/* A wrong command line is answered in JSON too if it asks for it anywhere. */
static bool wants_json(int argc, const char *const *argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--json")) return true;
    return false;
}

static kp_status run(int argc, const char *const *argv, kp_cli *cli, kp_err *err)
{
    KP_TRY(kp_cli_parse(argc, argv, process_env, cli, err));
    if (cli->values.help) return kp_help_command(cli, err);
    if (cli->values.version) return kp_cmd_version(cli, err);
    return cli->command->run(cli, err);
}

/* The result goes out whole or not at all: nothing of a failed command is on stdout but what
 * --json promises. */
static kp_status print_result(kp_cli *cli, kp_status status, const kp_err *failure, kp_err *err)
{
    kp_buf text;
    kp_buf_init(&text, 0);
    kp_status printed = kp_buf_check(&cli->out, err);
    if (!printed && status && !cli->whole) {
        kp_buf_clear(&cli->out);
        if (cli->values.json) printed = kp_cli_error_json(cli, failure, &cli->out, err);
    }
    const char *bytes = kp_buf_text(&cli->out);
    if (cli->values.json) kp_escape_json(bytes, cli->out.len, &text);
    else kp_escape_text(bytes, cli->out.len, true, &text);
    if (!printed) printed = kp_buf_check(&text, err);
    if (!printed) printed = kp_write_all(STDOUT_FILENO, kp_buf_text(&text), text.len, err);
    kp_buf_release(&text);
    return printed;
}

static void print_messages(const kp_cli *cli, kp_status status, const kp_err *err)
{
    kp_buf text;
    kp_buf_init(&text, 0);
    kp_cli_messages(cli, status, err, &text);
    kp_write_all(STDERR_FILENO, kp_buf_text(&text), text.len, NULL);
    kp_buf_release(&text);
}

int kp_cli_main(int argc, const char *const *argv)
{
    kp_cli cli = {0};
    kp_err err = {0}, write_err = {0};
    struct sigaction interrupt = {.sa_handler = interrupted}, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    kp_arena_init(&cli.arena, 0);
    kp_buf_init(&cli.out, 0);

    kp_status status = run(argc, argv, &cli, &err);
    cli.values.json |= status && wants_json(argc, argv);
    errno = 0;
    kp_status printed = print_result(&cli, status, &err, &write_err);
    bool reader_left = printed && errno == EPIPE; /* as with `kplan ... | head`: nobody is interested */
    if (printed && !status) err = write_err;
    if (!printed || status || !reader_left) print_messages(&cli, status ? status : printed, &err);
    for (uint32_t i = 0; i < cli.n_files; i++) kp_buf_release(&cli.files[i]);
    kp_buf_release(&cli.out);
    kp_arena_release(&cli.arena);
    return kp_status_exit(status ? status : printed);
}
