/* SPDX-License-Identifier: MIT
 *
 * The ranks' channel: meetings give everyone the same, strangers change nothing, a rank that is
 * lost, late or talks nonsense breaks the run for all with its name. */
#include "agent/verify/channel.h"
#include "agent/verify/frame.h"
#include "proto/clock.h"
#include "proto/num.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RANKS = 3, FLOATS = 50000 };

typedef struct ranker {
    pthread_t thread;
    kp_channel_config config;
    uint32_t missing; /* rank that never comes to the meetings; RANKS: none */
    kp_status status;
    kp_err err;
    float sum, parts[RANKS];
    uint32_t reports;
} ranker;

/* Three meetings (a long sum, a concatenation, one of the last two ranks) and a report. */
static void *walk(void *arg)
{
    static const uint32_t all[RANKS] = {0, 1, 2};
    ranker *r = arg;
    kp_channel *channel = NULL;
    r->status = kp_channel_open(&r->config, &channel, &r->err);
    if (r->status != KP_OK || r->config.rank == r->missing) {
        kp_channel_close(channel);
        return NULL;
    }
    const uint32_t me = r->config.rank;
    float *many = malloc(FLOATS * sizeof(float)), own = (float)(me + 1);
    for (int i = 0; i < FLOATS; i++) many[i] = own;
    const kp_group three = {all, RANKS, me}, two = {all + 1, 2, me - 1};
    size_t len = FLOATS * sizeof(float);
    r->status =
        kp_channel_meet(channel, three, 1, KP_JOIN_SUM, many, len, NULL, many, len, &r->err);
    r->sum = many[FLOATS - 1];
    if (r->status == KP_OK)
        r->status = kp_channel_meet(channel, three, 2, KP_JOIN_CONCAT, &own, sizeof(own), NULL,
                                    r->parts, sizeof(r->parts), &r->err);
    if (r->status == KP_OK && me > 0)
        r->status = kp_channel_meet(channel, two, 3, KP_JOIN_SUM, &own, sizeof(own), NULL, &own,
                                    sizeof(own), &r->err);
    kp_err why = {0};
    kp_channel_report(channel, &own, sizeof(own), &why);
    for (uint32_t i = 0; i < RANKS; i++) {
        const kp_buf *report = kp_channel_get_report(channel, i);
        r->reports += report && report->len == sizeof(float);
    }
    kp_channel_close(channel);
    free(many);
    return NULL;
}

static void start(ranker *rankers, char meet[80], double seconds, uint32_t missing)
{
    int fd;
    cr_assert(kp_channel_listen("127.0.0.1", &fd, meet, NULL) == KP_OK);
    for (uint32_t i = 0; i < RANKS; i++) {
        double until = kp_now_s() + seconds + (i > 0);
        rankers[i] = (ranker){.missing = missing,
                              .config = {.node = "n",
                                         .token = "right",
                                         .rank = i,
                                         .n_ranks = RANKS,
                                         .listen_fd = i == 0 ? fd : -1,
                                         .meet = meet,
                                         .deadline_s = until,
                                         .end_s = until + 1}};
    }
}

static void go(ranker *rankers)
{
    for (uint32_t i = 0; i < RANKS; i++)
        cr_assert(pthread_create(&rankers[i].thread, NULL, walk, &rankers[i]) == 0);
}

static void finish(ranker *rankers)
{
    for (uint32_t i = 0; i < RANKS; i++) pthread_join(rankers[i].thread, NULL);
}

/* A stranger's connection that has sent these bytes. */
static int stranger(const char *meet, const void *bytes, size_t len)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned port = 0;
    cr_assert(sscanf(meet, "tcp://127.0.0.1:%u", &port) == 1);
    at.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    if (len > 0) cr_assert(send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
    return fd;
}

/* A frame as a stranger could make it. */
static size_t frame(char *to, kp_frame_kind kind, uint32_t rank, uint32_t claims, const char *body,
                    size_t len)
{
    kp_frame_head head = {
        .magic = KP_FRAME_MAGIC, .kind = (uint8_t)kind, .rank = rank, .len = claims};
    memcpy(to, &head, sizeof(head));
    memcpy(to + sizeof(head), body, len);
    return sizeof(head) + len;
}

Test(channel, strangers_change_nothing)
{
    char meet[80], bytes[600], junk[300];
    ranker rankers[RANKS];
    start(rankers, meet, 10, RANKS);
    memset(junk, 'x', sizeof(junk));
    int fds[24];
    size_t n = 0;
    fds[n++] = stranger(meet, "GET / HTTP/1.1\r\n\r\n", 18);
    fds[n++] = stranger(meet, junk, sizeof(junk));
    fds[n++] = stranger(meet, NULL, 0);
    fds[n++] = stranger(meet, bytes, frame(bytes, KP_FRAME_HELLO, 1, 8, "wrong\0n", 8));
    fds[n++] = stranger(meet, bytes, frame(bytes, KP_FRAME_HELLO, 1, 5, "right", 5));
    fds[n++] = stranger(meet, bytes, frame(bytes, KP_FRAME_HELLO, 1, 1, "", 1));
    fds[n++] =
        stranger(meet, bytes, frame(bytes, KP_FRAME_HELLO, 0, 8, "right\0n", 8)); /* the hub's */
    fds[n++] = stranger(meet, bytes, frame(bytes, KP_FRAME_HELLO, 1, 0xfffffff0u, "right\0n", 8));
    fds[n++] = stranger(meet, bytes, frame(bytes, KP_FRAME_PART, 1, 0, "", 0));
    fds[n++] = stranger(meet, bytes, frame(bytes, KP_FRAME_REPORT, 1, 0, "", 0));
    fds[n++] = stranger(meet, bytes, frame(bytes, KP_FRAME_LEAVE, 1, 3, "bye", 3));
    go(rankers);
    finish(rankers);
    for (uint32_t i = 0; i < RANKS; i++) {
        const ranker *r = &rankers[i];
        cr_expect(r->status == KP_OK, "rank %u: %s", i, r->err.msg);
        cr_expect(r->sum == 6 && r->parts[0] == 1 && r->parts[1] == 2 && r->parts[2] == 3);
        cr_expect(r->reports == (i == 0 ? RANKS : 0));
    }
    for (size_t i = 0; i < n; i++) close(fds[i]);
}

Test(channel, a_wrong_token_is_refused)
{
    char meet[80];
    ranker rankers[RANKS];
    start(rankers, meet, 1, RANKS);
    rankers[2].config.token = "wrong";
    go(rankers);
    finish(rankers);
    cr_expect(rankers[2].status == KP_INCONCLUSIVE &&
                  strstr(rankers[2].err.msg, "does not take this rank"),
              "%s", rankers[2].err.msg);
    for (int i = 0; i < 2; i++)
        cr_expect(rankers[i].status == KP_INCONCLUSIVE &&
                      strstr(rankers[i].err.msg, "no answer in time from rank 2 (never connected)"),
                  "%s", rankers[i].err.msg);
}

Test(channel, a_lost_rank_breaks_the_run_at_once)
{
    char meet[80];
    ranker rankers[RANKS];
    double before = kp_now_s();
    start(rankers, meet, 60, 2);
    go(rankers);
    finish(rankers);
    cr_expect(kp_now_s() < before + 30, "nobody waits for the deadline");
    for (int i = 0; i < 2; i++)
        cr_expect(rankers[i].status == KP_INCONCLUSIVE &&
                      strstr(rankers[i].err.msg, "rank 2 on n was lost (its connection closed)"),
                  "rank %d: %s", i, rankers[i].err.msg);
    cr_expect(rankers[0].reports == 2);
}

/* What a rank with the right token may send that no rank sends. */
typedef struct nonsense_row {
    const char *what;
    kp_frame_head head;
    size_t len;
    const char *says;
} nonsense_row;

/* clang-format off */
#define HEAD(...) {.magic = KP_FRAME_MAGIC, __VA_ARGS__}
static const nonsense_row nonsense_rows[] = {
    {"no frame",                 {.magic = 7},                                                         0, "no frame"},
    {"a result",                 HEAD(.kind = KP_FRAME_RESULT),                                        0, "not for the hub"},
    {"a part of nothing",        HEAD(.kind = KP_FRAME_PART, .n = 0),                                  0, "part of nothing"},
    {"too many members",         HEAD(.kind = KP_FRAME_PART, .n = 4),                                  0, "part of nothing"},
    {"another group, same key",  HEAD(.kind = KP_FRAME_PART, .key = 1, .n = 2, .index = 1),            0, "another list"},
    {"an index twice",           HEAD(.kind = KP_FRAME_PART, .key = 1, .n = 3, .index = 0),            0, "another list"},
    {"a part of another length", HEAD(.kind = KP_FRAME_PART, .key = 1, .n = 3, .index = 2, .len = 4),  4, "differ in length"},
    {"half a frame, then none",  HEAD(.kind = KP_FRAME_PART, .key = 1, .n = 3, .index = 2, .len = 99), 4, "its connection closed"},
    {"a reason to leave",        HEAD(.kind = KP_FRAME_LEAVE, .len = 4),                               4, "rank 2 on x: abcd"},
};
/* clang-format on */

/* Plays rank 2 to a hub: hello, and then what the row says. */
static int play(const char *meet, const nonsense_row *row)
{
    char bytes[100];
    int fd = stranger(meet, bytes, frame(bytes, KP_FRAME_HELLO, 2, 8, "right\0x", 8));
    kp_frame_wait(fd, POLLIN, kp_now_s() + 5);
    recv(fd, bytes, sizeof(kp_frame_head), MSG_WAITALL); /* WELCOME */
    memcpy(bytes, &row->head, sizeof(kp_frame_head));
    memcpy(bytes + sizeof(kp_frame_head), "abcd", 4);
    send(fd, bytes, sizeof(kp_frame_head) + row->len, MSG_NOSIGNAL);
    if (row->len < row->head.len) shutdown(fd, SHUT_WR);
    return fd;
}

Test(channel, nonsense_from_a_rank_breaks_the_run)
{
    for (size_t i = 0; i < KP_LEN(nonsense_rows); i++) {
        const nonsense_row *row = &nonsense_rows[i];
        char meet[80];
        ranker rankers[RANKS];
        start(rankers, meet, 1, 2);
        rankers[2].config.deadline_s = 0; /* its place is taken by the test */
        go(rankers);
        int fd = play(meet, row);
        finish(rankers);
        close(fd);
        for (int k = 0; k < 2; k++)
            cr_expect(rankers[k].status != KP_OK && strstr(rankers[k].err.msg, row->says),
                      "row %zu, %s, rank %d: '%s'", i, row->what, k, rankers[k].err.msg);
    }
}

Test(channel, addresses)
{
    static const char *const rows[] = {"",
                                       "tcp://",
                                       "tcp://127.0.0.1",
                                       "tcp://127.0.0.1:0",
                                       "tcp://127.0.0.1:70000",
                                       "tcp://127.0.0.1:80x",
                                       "ipc:///tmp/x",
                                       "tcp://300.0.0.1:80",
                                       "tcp://127.0.0.1:1"};
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_channel *channel;
        kp_err err = {0};
        double until = kp_now_s() + 2;
        const kp_channel_config config = {.node = "n",
                                          .token = "t",
                                          .rank = 1,
                                          .n_ranks = 2,
                                          .listen_fd = -1,
                                          .meet = rows[i],
                                          .deadline_s = until,
                                          .end_s = until};
        cr_expect(kp_channel_open(&config, &channel, &err) == KP_INCONCLUSIVE && err.msg[0],
                  "row %zu", i);
    }
    int fd;
    char meet[80];
    cr_expect(kp_channel_listen("not-an-address", &fd, meet, NULL) == KP_USAGE);
}
