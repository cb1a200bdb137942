/* The client side of every measurement: many SOCKS clients in one thread, one epoll.
 *
 *     loadgen TEST --to IP:PORT --via socks5|socks4a|direct --host NAME|IPV4 --ports JSON
 *             [--conns N] [--seconds S] [--bytes N] [--light] [--timeout S]
 *
 * TEST is one of verify, setup, down, up, ping, idle (each described where it stands below). --to is the proxy,
 * or the destination when --via is direct; --ports is the line upstream.c prints. The result is one line of JSON.
 * A handshake is lock-step, as ordinary clients do it. Source addresses rotate over 127.9.0.1-32, so that ports do
 * not run out, and no connection is closed with bytes unread, so that no reset is sent.
 * Never: resolves a name, connects beyond loopback, outlives --timeout.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

static void parse_to(char *text)
{
    char *colon = strrchr(text, ':');
    if (!colon)
        die("--to");
    *colon = 0;
    opt.to.sin_family = AF_INET;
    opt.to.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, text, &opt.to.sin_addr) != 1 || (ntohl(opt.to.sin_addr.s_addr) >> 24) != 127)
        die("--to must be on loopback");
}

static void parse(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--light") == 0) {
            opt.light = true;
            continue;
        }
        char *value = i + 1 < argc ? argv[++i] : "";
        if (strcmp(name, "--to") == 0)
            parse_to(value);
        else if (strcmp(name, "--via") == 0)
            opt.via = strcmp(value, "direct") == 0 ? DIRECT : strcmp(value, "socks4a") == 0 ? SOCKS4A : SOCKS5;
        else if (strcmp(name, "--host") == 0)
            opt.host = value;
        else if (strcmp(name, "--ports") == 0)
            opt.ports = value;
        else if (strcmp(name, "--conns") == 0)
            opt.conns = atoi(value);
        else if (strcmp(name, "--seconds") == 0)
            opt.seconds = atof(value);
        else if (strcmp(name, "--bytes") == 0)
            opt.bytes = strtoull(value, NULL, 10);
        else if (strcmp(name, "--timeout") == 0)
            opt.timeout = atof(value);
        else {
            fprintf(stderr, "loadgen: unknown option %s\n", name);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    if (argc < 2 || opt.conns < 1 || !opt.ports) {
        fprintf(stderr, "loadgen: usage: see the head of loadgen.c\n");
        return 2;
    }
    client_init();
    alarm((unsigned)opt.timeout + 15); /* a last resort: SIGALRM ends the process */
    double until = now() + opt.timeout;
    if (strcmp(argv[1], "verify") == 0)
        run_verify();
    else if (strcmp(argv[1], "setup") == 0)
        run_setup(until);
    else if (strcmp(argv[1], "down") == 0)
        run_bulk(false, until);
    else if (strcmp(argv[1], "up") == 0)
        run_bulk(true, until);
    else if (strcmp(argv[1], "ping") == 0)
        run_ping(until);
    else if (strcmp(argv[1], "idle") == 0)
        run_idle(until);
    else
        die("unknown test");
    return errors ? 1 : 0;
}
