/* One SOCKS client out of many, and what every test of the load generator shares. */
#ifndef CLIENT_H
#define CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "pattern.h"

enum { CHUNK = 256 * 1024, ROUNDS = 4, MAX_ERRORS = 50, REQUEST_MAX = 512 };
enum via { SOCKS5, SOCKS4A, DIRECT };
enum phase { METHOD, REPLY, OPEN, IDLE };

struct conn {
    int fd;
    uint8_t phase;
    bool done, eof;     /* we have ended our direction; the destination has ended its own */
    uint32_t events;
    uint16_t got_len, pending_at, pending_len;
    uint64_t sent, got; /* bytes of the test itself, each direction */
    double since;
    uint8_t got_buf[MESSAGE];     /* reply of the proxy, or a message */
    uint8_t pending[REQUEST_MAX]; /* small messages not yet written */
};

/* What a test does when a tunnel is open, and whenever it is readable or writable; a hook may be NULL. */
struct test {
    const char *destination; /* key of --ports */
    void (*ready)(struct conn *);
    void (*readable)(struct conn *);
    void (*writable)(struct conn *);
};

struct options {
    struct sockaddr_in to;
    enum via via;
    const char *host, *ports;
    int conns;
    double seconds, timeout;
    uint64_t bytes;
    bool light;
};

extern struct options opt;
extern struct conn *conns;
extern int active, errors; /* connections not ended; failures so far */
extern char first_error[80];
extern uint8_t chunk[CHUNK], filler[CHUNK], message[MESSAGE], request[REQUEST_MAX];
extern size_t request_len;

void client_init(void);
double now(void);               /* seconds, monotonic */
void die(const char *what);
int port_of(const char *name);  /* of --ports; 0 if it is not there */
void use(const struct test *t); /* the test of the connections started from now on */
void start(struct conn *c);
void end(struct conn *c);
void fail(struct conn *c, const char *what);
void failed(const char *what);  /* a failure of no one connection */
void push(struct conn *c, const void *bytes, size_t n);
void want_events(struct conn *c, uint32_t events);
int turn(double until);         /* one turn of the loop, which waits at most until then; how many events came */
bool whole_message(struct conn *c);
void sample(double since);      /* one latency */
void close_result(double seconds);

void run_setup(double until);
void run_bulk(bool up, double until);
void run_ping(double until);
void run_idle(double until);
void run_verify(void);

#endif
