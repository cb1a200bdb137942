/* The far end of every measurement: a SOCKS5 server that is its own destination.
 *
 * One thread, one epoll. It listens on one port for SOCKS5 and on one port for each way a destination can
 * behave (`modes` below), and prints the ports as one JSON line. A SOCKS5 CONNECT to any host and one of those
 * port numbers ends here in that mode, so a relay that chains (speaks SOCKS5 upstream) and one that connects by
 * itself meet the same destination. Never: resolves a name, connects to anything, listens beyond 127.0.0.1.
 *
 * SOCKS5: greeting, user/password and request may come pipelined or byte by byte; any credentials are accepted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pattern.h"

enum mode {
    SOCKS,  /* not a destination: the proxy's own port */
    ECHO,   /* sends back what it gets, ends after the client's end */
    SINK,   /* reads, drops; sends its count (8 bytes) each time that passes a whole number of SINK_STEPs */
    LIGHT,  /* the same without copying the bytes out of the kernel (MSG_TRUNC) */
    SOURCE, /* reads a length (8 bytes, 0: until the client's end), sends so many bytes */
    CHECK,  /* compares all it gets; after the client's end: count, first wrong place or -1, then as many bytes back */
    FIRST,  /* speaks first: FIRST_BYTES, then its end; compares what comes after, see REPORT */
    CLOSE,  /* ends at once */
    REPORT, /* asked directly: how many FIRST streams ended, and how many wrong (8 bytes each) */
    MODES
};
static const char *const mode_name[MODES] = {"socks", "echo",  "sink",  "light", "source",
                                             "check", "first", "close", "report"};

enum phase { GREETING, AUTH, REQUEST, OPEN };

struct conn {
    int fd;
    uint8_t mode, phase;
    bool listener, ended; /* ended: the client has sent its FIN */
    uint32_t events;
    uint64_t in, out, want; /* bytes read; bytes written and to write by pump() */
    int64_t bad;            /* place of the first wrong byte, -1: none */
    uint8_t *held;          /* handshake bytes, or what an echo could not yet send back */
    size_t held_at, held_len;
};

enum { CHUNK = 256 * 1024, HANDSHAKE_MAX = 1024, ECHO_CHUNK = 64 * 1024, ROUNDS = 4 };

static int ep;
static int port_of[MODES];
static uint8_t chunk[CHUNK];
static uint8_t filler[CHUNK];
static uint64_t first_done, first_bad;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void want_events(struct conn *c, uint32_t events)
{
    if (events == c->events)
        return;
    struct epoll_event ev = {.events = events, .data.ptr = c};
    if (epoll_ctl(ep, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev))
        die("epoll_ctl");
    c->events = events;
}

static void drop(struct conn *c)
{
    close(c->fd);
    free(c->held);
    free(c);
}

static int port_mode(int port)
{
    for (int m = ECHO; m < MODES; m++)
        if (port_of[m] == port)
            return m;
    return -1;
}

/* Writes up to `want`; false if the connection is gone. */
static bool pump(struct conn *c)
{
    for (int i = 0; i < ROUNDS && c->out < c->want; i++) {
        size_t n = c->want - c->out < CHUNK ? c->want - c->out : CHUNK;
        const uint8_t *from = filler;
        if (c->mode != SOURCE) {
            n = n < ECHO_CHUNK ? n : ECHO_CHUNK;
            pattern_fill(chunk, n, SEED_DOWN, c->out);
            from = chunk;
        }
        ssize_t sent = send(c->fd, from, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            return drop(c), false;
        c->out += (uint64_t)sent;
    }
    if (c->out < c->want)
        return want_events(c, c->ended ? EPOLLOUT : EPOLLIN | EPOLLOUT), true; /* a FIN stays readable for ever */
    if (c->ended)
        return drop(c), false;
    shutdown(c->fd, SHUT_WR);
    want_events(c, EPOLLIN);
    return true;
}

static bool echo_back(struct conn *c, const uint8_t *p, size_t n)
{
    ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return drop(c), false;
    size_t done = sent < 0 ? 0 : (size_t)sent;
    if (done == n)
        return true;
    if (!c->held && !(c->held = malloc(ECHO_CHUNK)))
        die("malloc");
    memcpy(c->held, p + done, n - done);
    c->held_at = 0;
    c->held_len = n - done;
    want_events(c, EPOLLOUT); /* reads no more until this is gone: backpressure */
    return true;
}

static bool echo_flush(struct conn *c)
{
    ssize_t sent = send(c->fd, c->held + c->held_at, c->held_len, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN ? true : (drop(c), false);
    c->held_at += (size_t)sent;
    c->held_len -= (size_t)sent;
    if (c->held_len == 0)
        want_events(c, EPOLLIN);
    return true;
}

/* Bytes for the destination; false if the connection is gone. */
static bool take(struct conn *c, const uint8_t *p, size_t n)
{
    switch (c->mode) {
    case ECHO:
        return echo_back(c, p, n);
    case CHECK:
    case FIRST:
        if (c->bad < 0)
            c->bad = pattern_check(p, n, SEED_UP, c->in);
        c->in += n;
        return true;
    case SOURCE:
        for (size_t i = 0; i < n && c->in < 8; i++, c->in++)
            c->want |= (uint64_t)p[i] << (8 * c->in);
        if (c->in < 8)
            return true;
        c->want = c->want ? c->want : UINT64_MAX;
        return pump(c);
    case SINK:
    case LIGHT:
        c->in += n;
        if (c->in / SINK_STEP != (c->in - n) / SINK_STEP)
            send(c->fd, &c->in, 8, MSG_NOSIGNAL);
        return true;
    default:
        return true;
    }
}

/* The client has ended its direction. */
static void client_ended(struct conn *c)
{
    c->ended = true;
    if (c->mode == CHECK && c->phase == OPEN) {
        send(c->fd, &c->in, 8, MSG_NOSIGNAL);
        send(c->fd, &c->bad, 8, MSG_NOSIGNAL);
        c->want = c->in;
        pump(c);
        return;
    } else if (c->mode == FIRST && c->phase == OPEN) {
        first_done++;
        first_bad += c->bad >= 0 || c->out < c->want;
    }
    drop(c);
}

/* The destination is reached, directly or through SOCKS. */
static bool open_mode(struct conn *c, int mode)
{
    c->mode = (uint8_t)mode;
    c->phase = OPEN;
    if (mode == FIRST) {
        c->want = FIRST_BYTES;
        return pump(c);
    }
    if (mode == CLOSE)
        shutdown(c->fd, SHUT_WR);
    if (mode == REPORT) {
        uint64_t out[2] = {first_done, first_bad};
        send(c->fd, out, sizeof out, MSG_NOSIGNAL);
    }
    return true;
}

/* Length of the message at p in this phase; 0: not all here yet; -1: not SOCKS5. */
static int message_length(const struct conn *c, const uint8_t *p, size_t n)
{
    size_t need;
    if (n < 2)
        return 0;
    if (c->phase == GREETING) {
        need = 2 + (size_t)p[1];
    } else if (c->phase == AUTH) {
        if (n < 2 + (size_t)p[1] + 1)
            return 0;
        need = 2 + (size_t)p[1] + 1 + p[2 + p[1]];
    } else {
        if (n < 5)
            return 0;
        if (p[1] != 1 || (p[3] != 1 && p[3] != 3 && p[3] != 4))
            return -1;
        need = 4 + (p[3] == 1 ? 4 : p[3] == 4 ? 16 : 1 + (size_t)p[4]) + 2;
    }
    if (p[0] != (c->phase == AUTH ? 1 : 5))
        return -1;
    return n < need ? 0 : (int)need;
}

/* Takes every whole handshake message held; answers of one pass go out in one write. */
static void handshake(struct conn *c)
{
    uint8_t out[32];
    size_t out_len = 0;
    int mode = -1, length = 0;
    while (mode < 0 && (length = message_length(c, c->held + c->held_at, c->held_len)) > 0) {
        const uint8_t *p = c->held + c->held_at;
        if (c->phase == GREETING) {
            bool plain = memchr(p + 2, 0, p[1]) != NULL, password = memchr(p + 2, 2, p[1]) != NULL;
            out[out_len++] = 5;
            out[out_len++] = plain ? 0 : password ? 2 : 0xFF;
            c->phase = plain ? REQUEST : AUTH;
        } else if (c->phase == AUTH) {
            out[out_len++] = 1;
            out[out_len++] = 0;
            c->phase = REQUEST;
        } else {
            mode = port_mode(p[length - 2] << 8 | p[length - 1]);
            const uint8_t reply[10] = {5, mode < 0 ? 5 : 0, 0, 1};
            memcpy(out + out_len, reply, sizeof reply);
            out_len += sizeof reply;
            if (mode < 0)
                length = -1;
        }
        if (length < 0)
            break;
        c->held_at += (size_t)length;
        c->held_len -= (size_t)length;
    }
    if (out_len && send(c->fd, out, out_len, MSG_NOSIGNAL) != (ssize_t)out_len)
        length = -1;
    if (length < 0) {
        drop(c);
    } else if (mode >= 0) {
        uint8_t *early = c->held;
        size_t at = c->held_at, n = c->held_len;
        c->held = NULL;
        c->held_at = c->held_len = 0;
        if (open_mode(c, mode) && n)
            take(c, early + at, n);
        free(early);
    }
}

static void readable(struct conn *c)
{
    if (c->phase != OPEN) {
        if (!c->held && !(c->held = malloc(HANDSHAKE_MAX)))
            die("malloc");
        size_t used = c->held_at + c->held_len;
        ssize_t n = recv(c->fd, c->held + used, HANDSHAKE_MAX - used, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            drop(c);
            return;
        }
        c->held_len += (size_t)n;
        handshake(c);
        return;
    }
    size_t most = c->mode == ECHO ? ECHO_CHUNK : CHUNK;
    ssize_t n = recv(c->fd, chunk, most, c->mode == LIGHT ? MSG_TRUNC : 0);
    if (n > 0)
        take(c, chunk, (size_t)n);
    else if (n == 0)
        client_ended(c);
    else if (errno != EAGAIN)
        drop(c);
}

static void accept_all(const struct conn *listener)
{
    for (int i = 0; i < 64; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0)
            return;
        struct conn *c = calloc(1, sizeof *c);
        if (!c)
            die("calloc");
        c->fd = fd;
        c->bad = -1;
        c->mode = listener->mode;
        want_events(c, EPOLLIN);
        if (c->mode != SOCKS)
            open_mode(c, c->mode);
    }
}

static void listen_on(int mode)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sin;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it */
    if (fd < 0 || bind(fd, (struct sockaddr *)&sin, len) || listen(fd, 4096))
        die("listen");
    getsockname(fd, (struct sockaddr *)&sin, &len);
    port_of[mode] = ntohs(sin.sin_port);
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        die("calloc");
    c->fd = fd;
    c->mode = (uint8_t)mode;
    c->listener = true;
    want_events(c, EPOLLIN);
}

int main(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    pattern_fill(filler, sizeof filler, SEED_DOWN, 0);
    ep = epoll_create1(0);
    for (int m = 0; m < MODES; m++)
        listen_on(m);
    for (int m = 0; m < MODES; m++)
        printf("%s\"%s\": %d%s", m ? ", " : "{", mode_name[m], port_of[m], m == MODES - 1 ? "}\n" : "");
    fflush(stdout);
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(ep, events, 256, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c->listener)
                accept_all(c);
            else if ((events[i].events & EPOLLOUT) && c->held_len && c->phase == OPEN)
                echo_flush(c);
            else if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || !(events[i].events & EPOLLOUT))
                readable(c);
            else
                pump(c);
        }
    }
}
