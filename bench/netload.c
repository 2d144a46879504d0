/*
 * The load that bench/network measures with: a server and a client of plain TCP, for Linux.
 *
 *   netload serve               listens on a free port of 127.0.0.1, prints it, ends with its standard input
 *   netload client HOST PORT    takes commands, one a line, and answers each with a line
 *   netload once HOST PORT      one connection: a byte there and back
 *
 * The first byte of a connection tells the server what it is for. It is none that a line of text begins
 * with, except for HTTP, which begins as it always does. The commands and their answers:
 *
 *   stream KIND COUNT MS   COUNT streams at full speed. KIND is `down`, `up`, `both` (an echo) or `slow` (down,
 *                          and read in small pieces, so that what is on its way piles up).
 *                          Bytes and ns of the MS that count, the least that one stream moved in them, and all
 *                          bytes since the streams began.
 *   rate THREADS MS        Connect, a byte there and back, close, again and again. Connections and ns.
 *   connect COUNT          The same, one after another.
 *   raw COUNT              A message there and back on one connection.
 *   http COUNT             A GET and its answer on one connection.
 *   post COUNT             A POST in two writes and an answer in two: where Nagle's algorithm meets delayed
 *                          acknowledgements, 40 ms pass.
 *                          Of these four: ns of the median, the 99th percentile and the slowest, and how many
 *                          took over 30 ms.
 *
 * Every byte of an answer is checked; those of a stream are counted.
 */

#define _GNU_SOURCE
#include "load.h"
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DOWN = 1, UP = 2, ECHO = 3, SLOW = 4, HTTP = 'h' };

#define CHUNK (256 * 1024) /* of a stream */
#define ROOM (16 * 1024)   /* of an echo, and of a request */
#define PIECE 1024         /* of a stream that is read slowly */
#define BODY 64            /* of a request, an answer and a message */
#define WARM_UP 50         /* ms before a stream counts, and half a ms more for each of many */
/* What an echo has on its way, and the buffers of a stream that is read slowly: a thousand of the usual size
   would be all the memory that the kernel has for TCP. */
#define WINDOW (64 * 1024)
#define STALL 30000000LL   /* ns */
#define EVENTS 256

static char chunk[CHUNK];

/* `errno`, where it is one, is the cause. */
static int fail(const char *format, ...) {
    const char *cause = errno ? strerror(errno) : NULL;
    va_list list;
    va_start(list, format);
    keep_failure(cause, format, list);
    va_end(list);
    return -1;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void many_descriptors(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- server ---- */

struct connection {
    int fd;
    int mode;
    size_t filled; /* of `room` */
    size_t sent;
    char room[ROOM];
};

static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n";

/* Answers the requests that are complete; -1 when the connection is over. */
static int serve_http(struct connection *c) {
    for (;;) {
        char *end = memmem(c->room, c->filled, "\r\n\r\n", 4);
        if (!end) return 0;
        size_t length = end + 4 - c->room + (c->room[0] == 'P' ? BODY : 0);
        if (c->filled < length) return 0;
        char answer[sizeof ANSWER - 1 + BODY];
        memcpy(answer, ANSWER, sizeof ANSWER - 1);
        memset(answer + sizeof ANSWER - 1, 'b', BODY);
        size_t first = c->room[0] == 'P' ? sizeof ANSWER - 1 : sizeof answer;
        if (send(c->fd, answer, first, MSG_NOSIGNAL) != (ssize_t)first) return -1;
        if (first < sizeof answer && send(c->fd, answer + first, BODY, MSG_NOSIGNAL) != BODY) return -1;
        c->filled -= length;
        memmove(c->room, c->room + length, c->filled);
    }
}

/* -1 when the connection is over. One read or write a turn, so that all get theirs. */
static int serve(int epoll, struct connection *c) {
    if (!c->mode) {
        unsigned char first;
        ssize_t n = recv(c->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) return 0;
        if (n <= 0) return -1;
        c->mode = first <= SLOW ? first : HTTP;
        if (c->mode == SLOW) {
            int room = WINDOW;
            setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        }
        if (c->mode == DOWN || c->mode == SLOW) {
            struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
            recv(c->fd, &first, 1, 0);
            epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
        }
    }
    ssize_t n;
    switch (c->mode) {
    case DOWN:
    case SLOW:
        n = send(c->fd, chunk, sizeof chunk, MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    case UP: {
        static char sink[CHUNK];
        n = recv(c->fd, sink, sizeof sink, MSG_DONTWAIT);
        break;
    }
    case ECHO:
        if (c->sent == c->filled) {
            n = recv(c->fd, c->room, sizeof c->room, MSG_DONTWAIT);
            if (n <= 0) break;
            c->filled = n;
            c->sent = 0;
        }
        n = send(c->fd, c->room + c->sent, c->filled - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) c->sent += n;
        if (n > 0 || errno == EAGAIN) {
            /* What is not taken waits for room; nothing is read meanwhile. */
            struct epoll_event event = {.events = c->sent < c->filled ? EPOLLOUT : EPOLLIN, .data.ptr = c};
            epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
        }
        break;
    default:
        if (c->filled == sizeof c->room) return -1;
        n = recv(c->fd, c->room + c->filled, sizeof c->room - c->filled, MSG_DONTWAIT);
        if (n > 0) {
            c->filled += n;
            return serve_http(c);
        }
    }
    return n > 0 || (n < 0 && errno == EAGAIN) ? 0 : -1;
}

static void run_server(void) {
    int listener = listen_and_tell(SOCK_NONBLOCK);
    if (listener < 0) die("netload: listen");
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = NULL;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event)) die("netload: standard input");
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (!events[i].data.ptr) {
                char byte;
                if (read(STDIN_FILENO, &byte, 1) <= 0) exit(0);
            } else if (events[i].data.ptr == &listener) {
                for (int turn = 0; turn < 64; turn++) {
                    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                    if (fd < 0) break;
                    struct connection *c = calloc(1, sizeof *c);
                    if (!c) die("netload: memory");
                    c->fd = fd;
                    struct epoll_event add = {.events = EPOLLIN, .data.ptr = c};
                    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &add);
                }
            } else {
                struct connection *c = events[i].data.ptr;
                if (serve(epoll, c)) {
                    close(c->fd);
                    free(c);
                }
            }
        }
    }
}

/* ---- client ---- */

static const char *host, *port;
static struct sockaddr_in target;

/* Asked for again with each command, as a program would. */
static int find_target(void) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(host, port, &hints, &found);
    errno = 0;
    if (error) return fail("cannot resolve `%s`: %s", host, gai_strerror(error));
    memcpy(&target, found->ai_addr, sizeof target);
    freeaddrinfo(found);
    return 0;
}

static int dial(int window) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail("socket");
    no_delay(fd);
    if (window) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    if (connect(fd, (struct sockaddr *)&target, sizeof target)) {
        fail("connect");
        close(fd);
        return -1;
    }
    return fd;
}

static int receive(int fd, char *bytes, size_t size) {
    errno = 0;
    ssize_t n = recv(fd, bytes, size, MSG_WAITALL);
    return n == (ssize_t)size ? 0 : fail("%zd of %zu bytes came back", n, size);
}

static int send_all(int fd, const char *bytes, size_t size) {
    return send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size ? 0 : fail("send");
}

static int one_connection(void) {
    int fd = dial(0);
    if (fd < 0) return -1;
    char byte = ECHO, back = 0;
    int result = send_all(fd, &byte, 1) || receive(fd, &back, 1) ? -1 : back == byte ? 0 : fail("wrong byte");
    close(fd);
    return result;
}

static int message(int fd) {
    char there[BODY], back[BODY];
    memset(there, ECHO, sizeof there);
    if (send_all(fd, there, sizeof there) || receive(fd, back, sizeof back)) return -1;
    return memcmp(there, back, sizeof back) ? fail("wrong bytes") : 0;
}

/* An answer may have other header fields on its way through a proxy, but not another body. */
static int answer(int fd) {
    char room[4096], *end;
    size_t filled = 0;
    do {
        ssize_t n = recv(fd, room + filled, sizeof room - filled, 0);
        if (n <= 0) return fail("no answer (%zd)", n);
        filled += n;
        end = memmem(room, filled, "\r\n\r\n", 4);
    } while (!end || filled < (size_t)(end + 4 - room) + BODY);
    char wanted[BODY];
    memset(wanted, 'b', sizeof wanted);
    if (filled != (size_t)(end + 4 - room) + BODY || memcmp(end + 4, wanted, BODY) ||
        strncmp(room, "HTTP/1.1 200", 12))
        return fail("wrong answer `%.40s`", room);
    return 0;
}

static char get[256], head[256], body[BODY];

static int http_get(int fd) {
    return send_all(fd, get, strlen(get)) || answer(fd) ? -1 : 0;
}

static int http_post(int fd) {
    return send_all(fd, head, strlen(head)) || send_all(fd, body, sizeof body) || answer(fd) ? -1 : 0;
}

static int latency(int count, int (*request)(int), int kept_alive) {
    if (count < 1 || count > 1000000) return fail("bad count");
    int64_t *taken = malloc(count * sizeof *taken), slow = 0;
    int fd = -1, result = taken ? find_target() : fail("memory");
    if (!result && kept_alive) result = (fd = dial(0)) < 0 || request(fd) ? -1 : 0;
    for (int i = 0; i < count && !result; i++) {
        int64_t started = now();
        result = kept_alive ? request(fd) : one_connection();
        taken[i] = now() - started;
        slow += taken[i] > STALL;
    }
    if (fd >= 0) close(fd);
    if (!result) {
        qsort(taken, count, sizeof *taken, ascending);
        long long median = taken[count / 2], high = taken[count * 99LL / 100], slowest = taken[count - 1];
        printf("ok %lld %lld %lld %lld\n", median, high, slowest, (long long)slow);
    }
    free(taken);
    return result;
}

struct worker {
    pthread_t thread;
    int64_t until;
    int64_t connections;
    int failed;
    char failure[256];
};

static void *work(void *argument) {
    struct worker *w = argument;
    while (!w->failed && now() < w->until) {
        w->failed = one_connection();
        w->connections += !w->failed;
    }
    if (w->failed) memcpy(w->failure, failure, sizeof failure);
    return NULL;
}

static int rate(int count, int ms) {
    struct worker workers[256] = {0};
    if (count < 1 || count > 256) return fail("bad count");
    if (find_target()) return -1;
    int64_t started = now(), total = 0;
    int result = 0;
    for (int i = 0; i < count; i++) {
        workers[i].until = started + ms * 1000000LL;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) die("netload: thread");
    }
    for (int i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        total += workers[i].connections;
        if (workers[i].failed) {
            memcpy(failure, workers[i].failure, sizeof failure);
            result = -1;
        }
    }
    if (!result) printf("ok %lld %lld\n", (long long)total, (long long)(now() - started));
    return result;
}

struct stream {
    int fd;
    int64_t moved; /* bytes that were read, of `up` those that were written */
    int64_t waits; /* bytes of an echo that are on their way */
};

static int turn(struct stream *s, const char *kind) {
    static char sink[CHUNK];
    ssize_t n;
    if (kind[0] == 'u') {
        n = send(s->fd, chunk, sizeof chunk, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) s->moved += n;
        return n > 0 || errno == EAGAIN ? 0 : fail("send");
    }
    if (kind[0] == 'b' && s->waits < WINDOW) {
        n = send(s->fd, chunk, ROOM, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return fail("send");
        if (n > 0) s->waits += n;
    }
    errno = 0;
    n = recv(s->fd, sink, kind[0] == 's' ? PIECE : kind[0] == 'b' ? ROOM : CHUNK, MSG_DONTWAIT);
    if (n > 0) s->moved += n;
    if (n > 0) s->waits -= n;
    return n > 0 || (n < 0 && errno == EAGAIN) ? 0 : fail("recv");
}

static int streams(const char *kind, int count, int ms) {
    int mode = kind[0] == 'u' ? UP : kind[0] == 'b' ? ECHO : kind[0] == 's' ? SLOW : DOWN;
    if (count < 1 || count > 100000) return fail("bad count");
    if (find_target()) return -1;
    struct stream *all = calloc(count, sizeof *all);
    if (!all) return fail("memory");
    int epoll = epoll_create1(EPOLL_CLOEXEC), opened = 0, result = 0;
    /* The bytes of an echo must not begin like anything but one. */
    memset(chunk, mode, sizeof chunk);
    for (; opened < count && !result; opened++) {
        struct stream *s = &all[opened];
        char first = mode;
        s->fd = dial(kind[0] == 's' ? WINDOW : 0);
        if (s->fd < 0) {
            result = -1;
            break;
        }
        result = send_all(s->fd, &first, 1);
        s->waits = 1;
        struct epoll_event event = {.data.ptr = s};
        event.events = mode == UP ? EPOLLOUT : EPOLLIN;
        epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event);
    }
    int64_t started = now(), begun = 0, before = 0;
    int64_t begins = started + (WARM_UP + count / 2) * 1000000LL, ends = begins + ms * 1000000LL;
    while (!result) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 1000);
        for (int i = 0; i < ready && !result; i++) result = turn(events[i].data.ptr, kind);
        int64_t at = now();
        if (!begun && at >= begins) {
            begun = at;
            for (int i = 0; i < count; i++) {
                before += all[i].moved;
                all[i].moved = 0;
            }
        }
        if (begun && at >= ends) {
            int64_t total = 0, least = INT64_MAX;
            for (int i = 0; i < count; i++) {
                total += all[i].moved;
                if (all[i].moved < least) least = all[i].moved;
            }
            printf("ok %lld %lld %lld %lld\n", (long long)total, (long long)(at - begun), (long long)least,
                   (long long)(before + total));
            break;
        }
    }
    for (int i = 0; i < opened; i++) close(all[i].fd);
    close(epoll);
    free(all);
    return result;
}

static void run_client(void) {
    snprintf(get, sizeof get, "GET /path HTTP/1.1\r\nHost: %s:%s\r\nAccept: */*\r\n\r\n", host, port);
    snprintf(head, sizeof head, "POST /path HTTP/1.1\r\nHost: %s:%s\r\nContent-Length: %d\r\n\r\n", host,
             port, BODY);
    memset(body, 'a', sizeof body);
    char line[256], word[32], kind[32];
    int count, ms;
    while (fgets(line, sizeof line, stdin)) {
        int result;
        if (sscanf(line, "stream %31s %d %d", kind, &count, &ms) == 3)
            result = streams(kind, count, ms);
        else if (sscanf(line, "rate %d %d", &count, &ms) == 2)
            result = rate(count, ms);
        else if (sscanf(line, "%31s %d", word, &count) == 2 && !strcmp(word, "connect"))
            result = latency(count, NULL, 0);
        else if (!strcmp(word, "raw"))
            result = latency(count, message, 1);
        else if (!strcmp(word, "http"))
            result = latency(count, http_get, 1);
        else if (!strcmp(word, "post"))
            result = latency(count, http_post, 1);
        else
            result = fail("no such command");
        if (result) printf("error %s\n", failure);
        fflush(stdout);
    }
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    many_descriptors();
    if (count == 2 && !strcmp(arguments[1], "serve")) {
        memset(chunk, 'd', sizeof chunk);
        run_server();
    }
    if (count != 4) {
        fprintf(stderr, "usage: netload serve | client HOST PORT | once HOST PORT\n");
        return 2;
    }
    host = arguments[2];
    port = arguments[3];
    if (!strcmp(arguments[1], "once")) {
        if (!find_target() && !one_connection()) return 0;
        fprintf(stderr, "netload: %s\n", failure);
        return 1;
    }
    run_client();
    return 0;
}
