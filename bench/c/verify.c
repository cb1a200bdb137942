/* The verification that comes before any timing: every byte compared, both ways, each end of a stream seen. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

struct check {
    const char *name, *destination;
    uint64_t send, receive;
    uint64_t seed;      /* of what comes back */
    bool window;        /* send at most WINDOW ahead of what has come back, so that no relay can lock itself up */
    bool close;         /* the client closes once it has all: no half-close is asked of the relay */
    bool after_eof;     /* send only once the destination has ended its direction */
    bool verdict;       /* 16 bytes of verdict come before the stream */
    bool early;         /* the first bytes ride behind the request, in its segment */
};

enum { CHECK_S = 30, QUIET_S = 2 }; /* bounds of one check: in all, and without any byte */
enum { KIB = 1024, MIB = 1024 * KIB, EARLY = 200, WINDOW = 32 * KIB };
static const struct check checks[] = {
    /* name, destination, send, receive, seed */
    {"echo", "echo", 1, 1, SEED_UP, .window = true, .close = true},
    {"echo", "echo", 1448, 1448, SEED_UP, .window = true, .close = true},
    {"echo", "echo", 64 * KIB + 1, 64 * KIB + 1, SEED_UP, .window = true, .close = true},
    {"echo", "echo", 256 * KIB - 1, 256 * KIB - 1, SEED_UP, .window = true, .close = true},
    {"echo", "echo", 256 * KIB + 1, 256 * KIB + 1, SEED_UP, .window = true, .close = true},
    {"echo", "echo", MIB + 7, MIB + 7, SEED_UP, .window = true, .close = true},
    {"full_duplex", "echo", 24 * MIB + 7, 24 * MIB + 7, SEED_UP, .close = true},
    {"server_first", "first", 0, FIRST_BYTES, SEED_DOWN, .after_eof = true},
    {"server_closes", "close", 0, 0, SEED_DOWN, .after_eof = true},
    {"early_data", "echo", EARLY, EARLY, SEED_UP, .window = true, .close = true, .early = true},
    {"early_data", "echo", MIB, MIB, SEED_UP, .window = true, .close = true, .early = true},
    {"half_close", "echo", 64 * KIB + 1, 64 * KIB + 1, SEED_UP, .close = false},
    {"half_close", "check", 0, 0, SEED_DOWN, .verdict = true},
    {"half_close", "check", 5000, 5000, SEED_DOWN, .verdict = true},
    {"half_close", "check", 16 * MIB + 3, 16 * MIB + 3, SEED_DOWN, .verdict = true},
    {"half_close", "first", 600 * KIB + 5, FIRST_BYTES, SEED_DOWN, .after_eof = true},
};
static const struct check *check;
static uint32_t dice = 12345;

static uint32_t roll(uint32_t most)
{
    dice = dice * 1664525u + 1013904223u;
    return 1 + (dice >> 8) % most;
}

/* Writes in pieces of changing size, mostly small: borders of pieces must not matter. */
static void verify_writable(struct conn *c)
{
    if (check->after_eof && !c->eof)
        return;
    for (int i = 0; i < ROUNDS && c->sent < check->send; i++) {
        uint64_t left = check->send - c->sent, n = roll(i % 2 ? 100 : WINDOW);
        n = n < left ? n : left;
        if (check->window && c->sent + n > c->got + WINDOW) {
            want_events(c, EPOLLIN); /* writes on when the echo has come */
            return;
        }
        pattern_fill(chunk, n, SEED_UP, c->sent);
        ssize_t sent = send(c->fd, chunk, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0) {
            fail(c, strerror(errno));
            return;
        }
        c->sent += (uint64_t)sent;
    }
    if (c->sent < check->send) {
        want_events(c, EPOLLOUT | (c->eof ? 0 : EPOLLIN));
        return;
    }
    if (!c->done && !check->close)
        shutdown(c->fd, SHUT_WR);
    c->done = true;
    want_events(c, EPOLLIN);
    if (c->eof)
        end(c);
}

static void verify_verdict(struct conn *c)
{
    ssize_t n = recv(c->fd, c->got_buf + c->got_len, (size_t)(16 - c->got_len), 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        fail(c, n ? strerror(errno) : "closed before the verdict (half-close not passed on)");
        return;
    }
    c->got_len += (uint16_t)n;
    uint64_t count, bad;
    memcpy(&count, c->got_buf, 8);
    memcpy(&bad, c->got_buf + 8, 8);
    if (c->got_len == 16 && (count != check->send || bad != UINT64_MAX))
        fail(c, "destination got wrong bytes");
}

static void verify_readable(struct conn *c)
{
    if (check->verdict && c->got_len < 16) {
        verify_verdict(c);
        return;
    }
    ssize_t n = recv(c->fd, chunk, CHUNK, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0) {
        fail(c, strerror(errno));
    } else if (n > 0) {
        if (pattern_check(chunk, (size_t)n, check->seed, c->got) >= 0) {
            fail(c, "wrong bytes");
            return;
        }
        c->got += (uint64_t)n;
        if (check->close && c->got == check->receive)
            end(c);
        else if (check->window && !c->done)
            verify_writable(c);
    } else if (c->got != check->receive) {
        fail(c, c->got < check->receive ? "bytes missing" : "too many bytes");
    } else if (c->done) {
        end(c);
    } else if (!check->after_eof) {
        fail(c, "ended before the client did");
    } else {
        c->eof = true;
        verify_writable(c);
    }
}

static void verify_ready(struct conn *c)
{
    if (check->early)
        c->sent = EARLY;
    verify_writable(c);
}

/* FIRST streams that ended and that were wrong, asked of upstream.c directly. */
static void ask_report(uint64_t out[2])
{
    struct sockaddr_in to = opt.to;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)port_of("report"));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) || recv(fd, out, 16, MSG_WAITALL) != 16)
        die("report");
    close(fd);
}

/* Waits till upstream.c has seen the ends of `streams` more FIRST streams, all right. */
static void expect_report(const uint64_t before[2], int streams)
{
    uint64_t after[2];
    double until = now() + 3;
    do {
        ask_report(after);
        if (after[0] - before[0] >= (uint64_t)streams)
            break;
        usleep(10000);
    } while (now() < until);
    if (after[0] - before[0] != (uint64_t)streams || after[1] != before[1]) {
        failed("destination missed bytes or the end");
    }
}

static void run_check(void)
{
    struct test t = {check->destination, verify_ready, verify_readable, verify_writable};
    uint64_t before[2] = {0, 0};
    double quiet_since = now(), until = quiet_since + CHECK_S;
    use(&t);
    if (check->early) {
        pattern_fill(request + request_len, EARLY, SEED_UP, 0);
        request_len += EARLY;
    }
    ask_report(before);
    for (int i = 0; i < opt.conns; i++)
        start(&conns[i]);
    while (active && now() < until && now() - quiet_since < QUIET_S)
        if (turn(now() + 0.1))
            quiet_since = now();
    if (active && !errors)
        failed("stalled");
    for (int i = 0; i < opt.conns; i++)
        end(&conns[i]);
    if (!errors && strcmp(check->destination, "first") == 0)
        expect_report(before, opt.conns);
}

void run_verify(void)
{
    const size_t count = sizeof checks / sizeof *checks;
    double began = now();
    int failed = 0;
    printf("{\"test\": \"verify\", \"checks\": {");
    for (size_t i = 0; i < count; i++) {
        check = &checks[i];
        bool same = i > 0 && strcmp(checks[i - 1].name, check->name) == 0;
        if (!same) {
            failed += errors > 0;
            errors = 0;
            first_error[0] = 0;
            printf("%s\"%s\": ", i ? ", " : "", check->name);
        }
        if (!errors && !(check->early && opt.via == DIRECT))
            run_check();
        if (i + 1 == count || strcmp(checks[i + 1].name, check->name) != 0)
            printf("\"%s\"", errors ? first_error : "ok");
    }
    errors = failed + (errors > 0);
    first_error[0] = 0;
    printf("}");
    close_result(now() - began);
}

