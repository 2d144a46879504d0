/*
 * What the two loads have in common, netload.c and tlsload.c: programs of one file each, which include this one.
 */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* The line that a command is answered with when it fails; the client goes on. */
static __thread char failure[256];

/* Keeps that line, with `cause` behind it if there is one. */
static void keep_failure(const char *cause, const char *format, va_list list) {
    int length = vsnprintf(failure, sizeof failure, format, list);
    if (cause && length > 0 && (size_t)length < sizeof failure)
        snprintf(failure + length, sizeof failure - length, ": %s", cause);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Listens on a free port of 127.0.0.1 and prints it; -1 if it cannot. Connections have no delay either. */
static int listen_and_tell(int flags) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (listener < 0) return -1;
    no_delay(listener);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        return -1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static int ascending(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}
