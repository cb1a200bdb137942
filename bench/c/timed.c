/* The timed tests: setup, down and up, ping, idle. Each prints its own part of the result line. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

static int ready_count;
static bool stopping; /* the time is over: what is under way is still brought to its end */

/* Opens opt.conns connections and waits till each is ready; false if some failed. */
static bool open_all(double until)
{
    for (int i = 0; i < opt.conns; i++)
        start(&conns[i]);
    while (ready_count < opt.conns && !errors && now() < until)
        turn(until);
    if (ready_count < opt.conns && !errors)
        failed("not all opened in time");
    return !errors;
}

static void count_ready(struct conn *c)
{
    (void)c;
    ready_count++;
}

/* --- setup: connect, handshake, one message there and back, close; --conns at a time, for --seconds ---------- */

static uint64_t setups, setups_wanted;

static void setup_ready(struct conn *c)
{
    push(c, message, MESSAGE);
}

static void setup_readable(struct conn *c)
{
    if (whole_message(c)) {
        sample(c->since);
        setups++;
        end(c);
    }
    if (c->phase == IDLE && !stopping && errors < MAX_ERRORS && (!setups_wanted || setups + (uint64_t)active < setups_wanted))
        start(c);
}

static const struct test setup_test = {"echo", setup_ready, setup_readable, NULL};

void run_setup(double until)
{
    use(&setup_test);
    setups_wanted = opt.bytes; /* here --bytes counts connections */
    double began = now(), stop = setups_wanted ? until : began + opt.seconds;
    for (int i = 0; i < opt.conns; i++)
        start(&conns[i]);
    while (active && now() < stop)
        turn(stop);
    stopping = true;
    double took = now() - began;
    uint64_t done = setups;
    while (active && now() < until)
        turn(until);
    printf("{\"test\": \"setup\", \"count\": %llu, \"rate\": %.1f", (unsigned long long)setups, (double)done / took);
    close_result(took);
}

/* --- down, up: --conns streams at once, for --seconds or --bytes each ----------------------------------------- */

static void down_readable(struct conn *c)
{
    for (int i = 0; i < ROUNDS; i++) {
        ssize_t n = recv(c->fd, chunk, CHUNK, opt.light ? MSG_TRUNC : 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            if (opt.bytes && c->got < opt.bytes)
                fail(c, "stream ended early");
            end(c);
            return;
        }
        c->got += (uint64_t)n;
    }
}

/* Sends whole SINK_STEPs, for the sink tells its count then: no relay's half-close is needed to end an upload. */
static void up_writable(struct conn *c)
{
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t step = SINK_STEP - c->sent % SINK_STEP;
        if (step == SINK_STEP && c->sent && (stopping || (opt.bytes && c->sent >= opt.bytes))) {
            c->done = true;
            want_events(c, EPOLLIN);
            return;
        }
        ssize_t n = send(c->fd, filler, step < CHUNK ? step : CHUNK, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            fail(c, strerror(errno));
            return;
        }
        c->sent += (uint64_t)n;
    }
}

/* The sink's counts: the last must be what was sent. */
static void up_readable(struct conn *c)
{
    ssize_t n = recv(c->fd, c->got_buf + c->got_len, (size_t)(8 - c->got_len), 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        fail(c, n ? strerror(errno) : "closed before the last count");
        return;
    }
    c->got_len += (uint16_t)n;
    if (c->got_len < 8)
        return;
    c->got_len = 0;
    memcpy(&c->got, c->got_buf, 8);
    if (c->got > c->sent)
        fail(c, "more arrived than was sent");
    else if (c->done && c->got == c->sent)
        end(c);
}

static const struct test down_test = {"source", count_ready, down_readable, NULL};
static const struct test up_test = {"sink", count_ready, up_readable, up_writable};
static const struct test light_up_test = {"light", count_ready, up_readable, up_writable};

static uint64_t total_bytes(uint64_t *least, uint64_t *most)
{
    uint64_t sum = 0;
    *least = UINT64_MAX;
    *most = 0;
    for (int i = 0; i < opt.conns; i++) {
        sum += conns[i].got;
        *least = conns[i].got < *least ? conns[i].got : *least;
        *most = conns[i].got > *most ? conns[i].got : *most;
    }
    return sum;
}

void run_bulk(bool up, double until)
{
    uint64_t least, most, at_stop = 0;
    use(!up ? &down_test : opt.light ? &light_up_test : &up_test);
    bool fine = open_all(until);
    double began = now(), stop = opt.bytes ? until : began + opt.seconds;
    for (int i = 0; fine && i < opt.conns; i++) {
        if (up)
            want_events(&conns[i], EPOLLIN | EPOLLOUT);
        else
            push(&conns[i], &opt.bytes, 8);
    }
    while (fine && active && now() < stop)
        turn(stop);
    stopping = true;
    double took = now() - began;
    at_stop = total_bytes(&least, &most);
    double fairness = most ? (double)least / (double)most : 0;
    for (int i = 0; i < opt.conns; i++) {
        if (!up && conns[i].phase == OPEN)
            shutdown(conns[i].fd, SHUT_WR); /* the source stops at this; what is under way is still read */
    }
    while (fine && active && now() < until)
        turn(until);
    if (active && !errors)
        failed("not all ended in time");
    uint64_t bytes = total_bytes(&least, &most);
    if (up || opt.bytes) { /* these bytes have all arrived, so the time till the last one counts */
        took = now() - began;
        at_stop = bytes;
        fairness = most ? (double)least / (double)most : 0;
    }
    printf("{\"test\": \"%s\", \"count\": %llu, \"rate\": %.1f, \"fairness\": %.3f", up ? "up" : "down",
           (unsigned long long)bytes, (double)at_stop / took, fairness);
    close_result(took);
}

/* --- ping: one message of 64 bytes to and fro on each of --conns tunnels, for --seconds ------------------------ */

static uint64_t pings;

static void ping_readable(struct conn *c)
{
    if (!whole_message(c))
        return;
    sample(c->since);
    pings++;
    if (stopping) {
        end(c);
        return;
    }
    c->since = now();
    push(c, message, MESSAGE);
}

static const struct test ping_test = {"echo", count_ready, ping_readable, NULL};

void run_ping(double until)
{
    use(&ping_test);
    bool fine = open_all(until);
    double began = now(), stop = began + opt.seconds;
    for (int i = 0; fine && i < opt.conns; i++) {
        conns[i].since = now();
        push(&conns[i], message, MESSAGE);
    }
    while (fine && active && now() < stop)
        turn(stop);
    stopping = true;
    double took = now() - began;
    uint64_t done = pings;
    while (fine && active && now() < until)
        turn(until);
    printf("{\"test\": \"ping\", \"count\": %llu, \"rate\": %.1f", (unsigned long long)pings, (double)done / took);
    close_result(took);
}

/* --- idle: --conns tunnels, each used once, then held till standard input ends; used once more, closed --------- */

static void idle_ready(struct conn *c)
{
    push(c, message, MESSAGE);
}

static void idle_readable(struct conn *c)
{
    if (whole_message(c))
        count_ready(c);
}

static const struct test idle_test = {"echo", idle_ready, idle_readable, NULL};

void run_idle(double until)
{
    use(&idle_test);
    double began = now();
    for (int i = 0; i < opt.conns && !errors && now() < until; i++) {
        start(&conns[i]);
        while (i + 1 - ready_count >= 64 && !errors && now() < until)
            turn(until);
    }
    while (ready_count < opt.conns && !errors && now() < until)
        turn(until);
    double took = now() - began;
    int held = ready_count;
    printf("{\"held\": %d}\n", held);
    fflush(stdout);
    if (read(STDIN_FILENO, chunk, 1) < 0)
        die("stdin");
    ready_count = 0;
    for (int i = 0; i < opt.conns; i++)
        if (conns[i].phase == OPEN)
            push(&conns[i], message, MESSAGE);
    while (ready_count < held && !errors && now() < until)
        turn(until);
    printf("{\"test\": \"idle\", \"count\": %d, \"alive\": %d", held, ready_count);
    close_result(took);
}

