/* Loaded before libc: lets chosen system calls fail, and moves the wall clock, as a small shared file says.
   Calls of other kinds of sockets than TCP go through untouched, so that nothing but the data plane is hit. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct plan { int32_t call, error, count, hits; int64_t clock_s; };
enum { ACCEPT = 1, SOCKET, CONNECT, SEND, RECV, SPLICE, EPOLL_CTL, PIPE };
static volatile struct plan none, *plan = &none;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("INJECT_PLAN");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) plan = map;
    close(fd);
}

static int fails(int call) {
    if (plan->call != call || plan->count <= 0) return 0;
    plan->count--;
    plan->hits++;
    errno = plan->error;
    return 1;
}

static int is_tcp(int fd) {
    int domain = 0, kind = 0;
    socklen_t size = sizeof domain;
    int saved = errno;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    size = sizeof kind;
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size);
    errno = saved;
    return (domain == AF_INET || domain == AF_INET6) && kind == SOCK_STREAM;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int accept4(int fd, struct sockaddr *restrict name, socklen_t *restrict size, int flags) {
    REAL(accept4);
    return fails(ACCEPT) ? -1 : real(fd, name, size, flags);
}

int socket(int domain, int kind, int protocol) {
    REAL(socket);
    return domain == AF_INET && (kind & 15) == SOCK_STREAM && fails(SOCKET) ? -1 : real(domain, kind, protocol);
}

int connect(int fd, const struct sockaddr *name, socklen_t size) {
    REAL(connect);
    return is_tcp(fd) && fails(CONNECT) ? -1 : real(fd, name, size);
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    REAL(send);
    return is_tcp(fd) && fails(SEND) ? -1 : real(fd, data, size, flags);
}

ssize_t recv(int fd, void *data, size_t size, int flags) {
    REAL(recv);
    return is_tcp(fd) && fails(RECV) ? -1 : real(fd, data, size, flags);
}

ssize_t splice(int in, off_t *in_at, int out, off_t *out_at, size_t size, unsigned flags) {
    REAL(splice);
    return fails(SPLICE) ? -1 : real(in, in_at, out, out_at, size, flags);
}

int epoll_ctl(int set, int how, int fd, struct epoll_event *event) {
    REAL(epoll_ctl);
    return how == EPOLL_CTL_ADD && is_tcp(fd) && fails(EPOLL_CTL) ? -1 : real(set, how, fd, event);
}

int pipe2(int ends[2], int flags) {
    REAL(pipe2);
    return fails(PIPE) ? -1 : real(ends, flags);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    REAL(clock_gettime);
    int result = real(clock, at);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += plan->clock_s;
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
