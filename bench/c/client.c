/* Connections of the load generator: non-blocking sockets, the client side of SOCKS, one epoll, the result line.
 *
 * A handshake is lock-step, as ordinary clients do it. Never: decides what a test does with an open tunnel.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

enum { SOURCES = 32, SAMPLES = 4 << 20 };

struct options opt = {.host = "bench.test", .conns = 1, .seconds = 1, .timeout = 30};
struct conn *conns;
int active, errors;
char first_error[80];
uint8_t chunk[CHUNK], filler[CHUNK], message[MESSAGE], request[REQUEST_MAX];
size_t request_len;

static int ep, destination_port, next_source;
static const struct test *test;
static uint32_t *samples; /* nanoseconds */
static size_t sample_count;

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void die(const char *what)
{
    fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* --- connections ------------------------------------------------------------------------------------------- */

void want_events(struct conn *c, uint32_t events)
{
    if (events == c->events)
        return;
    struct epoll_event ev = {.events = events, .data.ptr = c};
    if (epoll_ctl(ep, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev))
        die("epoll_ctl");
    c->events = events;
}

void end(struct conn *c)
{
    if (c->phase == IDLE)
        return;
    close(c->fd);
    c->phase = IDLE;
    active--;
}

void failed(const char *what)
{
    if (!errors++)
        snprintf(first_error, sizeof first_error, "%s", what);
}

void fail(struct conn *c, const char *what)
{
    failed(what);
    end(c);
}

/* Writes a small message; what does not fit yet follows when the socket is writable. */
void push(struct conn *c, const void *bytes, size_t n)
{
    memcpy(c->pending + c->pending_len, bytes, n);
    c->pending_len += (uint16_t)n;
    ssize_t sent = send(c->fd, c->pending + c->pending_at, (size_t)(c->pending_len - c->pending_at), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        fail(c, strerror(errno));
        return;
    }
    c->pending_at += (uint16_t)(sent > 0 ? sent : 0);
    bool all = c->pending_at == c->pending_len;
    if (all)
        c->pending_at = c->pending_len = 0;
    want_events(c, all ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

static void opened_up(struct conn *c)
{
    c->phase = OPEN;
    c->got_len = 0;
    want_events(c, EPOLLIN);
    if (test->ready)
        test->ready(c);
}

void start(struct conn *c)
{
    memset(c, 0, offsetof(struct conn, got_buf));
    c->since = now();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        die("socket");
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7F090001u + (uint32_t)(next_source++ % SOURCES));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from))
        die("bind");
    active++;
    if (connect(c->fd, (struct sockaddr *)&opt.to, sizeof opt.to) && errno != EINPROGRESS) {
        fail(c, strerror(errno));
        return;
    }
    if (opt.via == DIRECT) {
        opened_up(c);
    } else {
        c->phase = opt.via == SOCKS5 ? METHOD : REPLY;
        if (opt.via == SOCKS5)
            push(c, "\x05\x01\x00", 3);
        else
            push(c, request, request_len);
    }
}

/* The request, the same for every connection of a run. */
static void make_request(void)
{
    struct in_addr literal;
    bool address = inet_pton(AF_INET, opt.host, &literal) == 1;
    size_t name_len = strlen(opt.host), n;
    uint8_t *p = request, port[2] = {(uint8_t)(destination_port >> 8), (uint8_t)destination_port};
    if (name_len > 255)
        die("--host");
    if (opt.via == SOCKS5) {
        memcpy(p, address ? "\x05\x01\x00\x01" : "\x05\x01\x00\x03", 4);
        n = 4;
        if (address) {
            memcpy(p + n, &literal, 4);
            n += 4;
        } else {
            p[n++] = (uint8_t)name_len;
            memcpy(p + n, opt.host, name_len);
            n += name_len;
        }
        memcpy(p + n, port, 2);
        n += 2;
    } else {
        p[0] = 4;
        p[1] = 1;
        memcpy(p + 2, port, 2);
        memcpy(p + 4, address ? (void *)&literal : (void *)"\0\0\0\1", 4);
        p[8] = 0; /* empty user id */
        n = 9;
        if (!address) {
            memcpy(p + n, opt.host, name_len + 1);
            n += name_len + 1;
        }
    }
    request_len = n;
}

/* One read of exactly what the handshake still needs, so that no byte of the destination is swallowed. */
static void handshake(struct conn *c)
{
    size_t need = c->phase == METHOD ? 2 : opt.via == SOCKS4A ? 8 : 10;
    const uint8_t *b = c->got_buf;
    if (c->phase == REPLY && opt.via == SOCKS5 && c->got_len >= 10)
        need = b[3] == 1 ? 10 : b[3] == 4 ? 22 : 7 + (size_t)b[4];
    ssize_t n = need > sizeof c->got_buf ? 0 : recv(c->fd, c->got_buf + c->got_len, need - c->got_len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        fail(c, n ? strerror(errno) : "closed in the handshake");
        return;
    }
    c->got_len += (uint16_t)n;
    if (c->got_len < need)
        return;
    if (c->phase == METHOD) {
        if (b[0] != 5 || b[1] != 0) {
            fail(c, "method refused");
            return;
        }
        c->phase = REPLY;
        c->got_len = 0;
        push(c, request, request_len);
    } else if (b[1] != (opt.via == SOCKS5 ? 0 : 0x5A)) {
        fail(c, "request refused");
    } else if (opt.via == SOCKS4A || need != 10 || b[3] == 1) {
        opened_up(c);
    } else {
        handshake(c); /* a longer bound address: the rest of it */
    }
}

static void dispatch(struct conn *c, uint32_t events)
{
    if ((events & EPOLLOUT) && c->pending_len) {
        push(c, "", 0);
        if (c->phase == IDLE)
            return;
    } else if ((events & EPOLLOUT) && c->phase == OPEN && test->writable) {
        test->writable(c);
    }
    if (c->phase != IDLE && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        if (c->phase != OPEN)
            handshake(c);
        else if (test->readable)
            test->readable(c);
    }
}

int turn(double until)
{
    struct epoll_event events[256];
    double left = until - now();
    int n = epoll_wait(ep, events, 256, left > 0 ? (int)(left * 1000) + 1 : 0);
    for (int i = 0; i < n; i++)
        dispatch(events[i].data.ptr, events[i].events);
    return n;
}

int port_of(const char *name)
{
    char key[32];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = opt.ports ? strstr(opt.ports, key) : NULL;
    return at ? atoi(at + strlen(key)) : 0;
}

void use(const struct test *t)
{
    test = t;
    destination_port = port_of(t->destination);
    if (!destination_port) {
        fprintf(stderr, "loadgen: --ports does not name %s\n", t->destination);
        exit(2);
    }
    if (opt.via == DIRECT)
        opt.to.sin_port = htons((uint16_t)destination_port);
    make_request();
}

/* Reads towards one MESSAGE in got_buf; true when it is whole and right. */
bool whole_message(struct conn *c)
{
    ssize_t n = recv(c->fd, c->got_buf + c->got_len, (size_t)(MESSAGE - c->got_len), 0);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        fail(c, n ? strerror(errno) : "closed before the echo");
        return false;
    }
    c->got_len += (uint16_t)n;
    if (c->got_len < MESSAGE)
        return false;
    c->got_len = 0;
    if (memcmp(c->got_buf, message, MESSAGE) == 0)
        return true;
    fail(c, "wrong bytes");
    return false;
}

/* --- results ----------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void sample(double since)
{
    if (sample_count < SAMPLES)
        samples[sample_count++] = (uint32_t)((now() - since) * 1e9);
}

static double percentile_us(double p)
{
    return sample_count ? samples[(size_t)(p * (double)(sample_count - 1))] / 1e3 : 0;
}

/* Ends the JSON object that the test began. */
void close_result(double seconds)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                 (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    if (sample_count) {
        qsort(samples, sample_count, sizeof *samples, by_value);
        printf(", \"p50_us\": %.1f, \"p99_us\": %.1f", percentile_us(0.50), percentile_us(0.99));
    }
    printf(", \"seconds\": %.4f, \"cpu_seconds\": %.4f, \"errors\": %d, \"first_error\": \"%s\"}\n", seconds, cpu, errors,
           first_error);
    fflush(stdout);
}

void client_init(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    ep = epoll_create1(0);
    conns = calloc((size_t)opt.conns, sizeof *conns);
    samples = malloc(SAMPLES * sizeof *samples);
    if (ep < 0 || !conns || !samples)
        die("start");
    for (int i = 0; i < opt.conns; i++)
        conns[i].phase = IDLE;
    pattern_fill(filler, sizeof filler, SEED_UP, 0);
    pattern_fill(message, sizeof message, SEED_UP, 0);
}
