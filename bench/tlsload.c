/*
 * The load that bench/secrets measures with: a server and a client of HTTP/1.1 and HTTP/2 over TLS, for Linux.
 *
 *   tlsload serve CERTIFICATE KEY SECRET    listens on a free port of 127.0.0.1, prints it, ends with its standard
 *                                           input
 *   tlsload client NAME HOST PORT           takes commands, one a line, and answers each with a line
 *   tlsload once NAME HOST PORT PROTOCOL    one connection and one request, as a client that is started for it
 *
 * Clients believe what OpenSSL believes (SSL_CERT_FILE) and NAME. Every request has the variable BENCH_KEY in
 * `x-api-key`, and the server answers none whose connection did not begin with the SECRET there: no figure is of a run
 * that put no secret in. The commands and their answers; PROTOCOL is `h1` or `h2`:
 *
 *   get PROTOCOL COUNT      Requests on one connection: ns of the median, the 99th percentile and the slowest.
 *   connect PROTOCOL COUNT  Connections with one request each: the same.
 *   download BYTES          Bytes and ns.
 *   events COUNT US         Server-sent events, one in US: ns from a write to the read of it, as above.
 *   streams KIND COUNT MS   COUNT endless answers at once. KIND is `full` or `slow` (read in small pieces, so that what is
 *                           on its way piles up). Bytes and ns, and the least that one stream moved.
 *   issuer                  1 if the server's certificate is not of the authority called `bench`, 0 if it is.
 *   accepted                How many connections the server has had, without this one.
 */

#define _GNU_SOURCE
#include "load.h"
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define ROOM (64 * 1024)  /* of a connection, and what is read and written at once */
#define PIECE 4096        /* of a stream that is read slowly */
#define PAUSE 10000       /* us between its pieces */
#define WARM_UP 300       /* ms before streams count */
#define STACK (256 * 1024)
#define MOST 100000

/* What OpenSSL knows of, if anything, is the cause. */
static int fail(const char *format, ...) {
    unsigned long error = ERR_get_error();
    va_list list;
    va_start(list, format);
    keep_failure(error ? ERR_error_string(error, NULL) : NULL, format, list);
    va_end(list);
    ERR_clear_error();
    return -1;
}

static void die(const char *what) {
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

struct wire {
    int fd;
    SSL *ssl;
    size_t from, filled; /* of `room` */
    uint32_t stream;     /* the last one of HTTP/2 */
    char room[ROOM];
};

/* Reads more behind what is there; -1 at the end. */
static int fill(struct wire *w) {
    if (w->from == w->filled) w->from = w->filled = 0;
    if (w->from && w->filled == ROOM) {
        memmove(w->room, w->room + w->from, w->filled - w->from);
        w->filled -= w->from;
        w->from = 0;
    }
    if (w->filled == ROOM) return fail("too long");
    int n = SSL_read(w->ssl, w->room + w->filled, ROOM - w->filled);
    if (n <= 0) return fail("the connection ended");
    w->filled += n;
    return 0;
}

/* The bytes that come next, of which there are at least `count` now. */
static char *take(struct wire *w, size_t count) {
    if (count > ROOM) {
        fail("too long");
        return NULL;
    }
    while (w->filled - w->from < count)
        if (fill(w)) return NULL;
    char *at = w->room + w->from;
    w->from += count;
    return at;
}

/* A head of HTTP/1 with the empty line, as text. */
static char *take_head(struct wire *w) {
    for (;;) {
        char *end = memmem(w->room + w->from, w->filled - w->from, "\r\n\r\n", 4);
        if (end) {
            char *head = w->room + w->from;
            w->from = end + 4 - w->room;
            end[2] = 0;
            return head;
        }
        if (fill(w)) return NULL;
    }
}

static int put(struct wire *w, const void *bytes, size_t count) {
    return SSL_write(w->ssl, bytes, count) == (int)count ? 0 : fail("cannot write");
}

static void hang_up(struct wire *w) {
    if (w->ssl) SSL_shutdown(w->ssl);
    SSL_free(w->ssl);
    if (w->fd >= 0) close(w->fd);
    free(w);
}

/* ---- HTTP/2, no more of it than one request after another (RFC 9113) ---- */

enum { DATA = 0, HEADERS = 1, RESET = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct frame {
    size_t length;
    unsigned char kind, flags;
    uint32_t stream;
    unsigned char *payload;
};

static int take_frame(struct wire *w, struct frame *f) {
    unsigned char *h = (unsigned char *)take(w, 9);
    if (!h) return -1;
    *f = (struct frame){h[0] << 16 | h[1] << 8 | h[2], h[3], h[4],
                        (h[5] & 127u) << 24 | h[6] << 16 | h[7] << 8 | h[8], NULL};
    f->payload = (unsigned char *)take(w, f->length);
    return f->payload ? 0 : -1;
}

static size_t frame(unsigned char *to, int kind, int flags, uint32_t stream, const void *payload, size_t length) {
    unsigned char head[9] = {length >> 16, length >> 8,  length,      kind,  flags,
                             stream >> 24, stream >> 16, stream >> 8, stream};
    memcpy(to, head, 9);
    if (length) memcpy(to + 9, payload, length);
    return 9 + length;
}

/* Answers what a connection itself asks for, and gives room back for what came; 1 if the frame was such a one. */
static int housekeeping(struct wire *w, struct frame *f, size_t *since) {
    unsigned char out[32];
    if (f->kind == DATA && (*since += f->length) >= 16384) {
        unsigned char more[4] = {0, 0, *since >> 8, *since};
        *since = 0;
        if (put(w, out, frame(out, WINDOW, 0, 0, more, 4))) return -1;
    }
    if (f->kind == DATA || f->kind == HEADERS) return 0;
    if (f->kind == GOAWAY || f->kind == RESET) return fail("the peer ended HTTP/2");
    if (f->flags & ACK) return 1;
    if (f->kind == SETTINGS) return put(w, out, frame(out, SETTINGS, ACK, 0, NULL, 0)) ? -1 : 1;
    if (f->kind == PING) return put(w, out, frame(out, PING, ACK, 0, f->payload, 8)) ? -1 : 1;
    return 1;
}

/* ---- server ---- */

static SSL_CTX *context;
static atomic_long accepted;
static const char *secret;
/* The secret as HTTP/2 sends it: it is made of the letters that have five bits each (RFC 7541 appendix B). */
static unsigned char packed[256];
static size_t packed_length;

static void pack_secret(void) {
    static const char letters[] = "012aceiost";
    unsigned bits = 0, count = 0;
    for (const char *at = secret; *at; at++) {
        const char *letter = strchr(letters, *at);
        if (!letter || packed_length + 2 > sizeof packed) die("the secret has other letters");
        bits = bits << 5 | (letter - letters);
        for (count += 5; count >= 8; count -= 8) packed[packed_length++] = bits >> (count - 8);
    }
    if (count) die("the secret has no length of whole bytes");
}

static int refuse(struct wire *w) {
    static const char text[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    return put(w, text, sizeof text - 1);
}

static int serve_bytes(struct wire *w, int64_t count) {
    char head[128];
    static const char body[ROOM] = {'b'};
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                          "Content-Length: %lld\r\n\r\n", (long long)count);
    if (put(w, head, length)) return -1;
    for (int64_t left = count; left > 0;) {
        size_t n = left < ROOM ? left : ROOM;
        if (put(w, body, n)) return -1;
        left -= n;
    }
    return 0;
}

/* Each event says when it was written. */
static int serve_events(struct wire *w, int count, int us) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    char text[64], chunk[96];
    if (put(w, head, sizeof head - 1)) return -1;
    for (int i = 0; i < count; i++) {
        usleep(us);
        int length = snprintf(text, sizeof text, "data: %020lld\n\n", (long long)now());
        int all = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", length, text);
        if (put(w, chunk, all)) return -1;
    }
    return put(w, "0\r\n\r\n", 5);
}

static void serve_1(struct wire *w) {
    int known = 0;
    for (char *head; (head = take_head(w));) {
        long long count = 0;
        int us = 0;
        known = known || strstr(head, secret);
        int result;
        if (!known)
            result = refuse(w);
        else if (sscanf(head, "GET /bytes/%lld", &count) == 1)
            result = serve_bytes(w, count);
        else if (sscanf(head, "GET /events/%lld/%d", &count, &us) == 2)
            result = serve_events(w, count, us);
        else {
            char text[32], answer[128];
            int is_count = !strncmp(head, "GET /accepted", 13);
            int length = is_count ? snprintf(text, sizeof text, "%ld", atomic_load(&accepted) - 1)
                                  : snprintf(text, sizeof text, "ok");
            int all = snprintf(answer, sizeof answer,
                               "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", length,
                               text);
            result = put(w, answer, all);
        }
        if (result) return;
    }
}

static void serve_2(struct wire *w) {
    unsigned char out[128], status;
    int known = 0;
    size_t since = 0;
    char *preface = take(w, sizeof PREFACE - 1);
    if (!preface || memcmp(preface, PREFACE, sizeof PREFACE - 1)) return;
    if (put(w, out, frame(out, SETTINGS, 0, 0, NULL, 0))) return;
    for (struct frame f; !take_frame(w, &f);) {
        int kept = housekeeping(w, &f, &since);
        if (kept < 0) return;
        if (kept || f.kind != HEADERS) continue;
        if (!known) {
            known = memmem(f.payload, f.length, packed, packed_length) ||
                    memmem(f.payload, f.length, secret, strlen(secret));
        }
        /* `:status` of the static table: 200 is entry 8, 404 entry 13. */
        status = 0x80 | (known ? 8 : 13);
        size_t length = frame(out, HEADERS, END_HEADERS, f.stream, &status, 1);
        length += frame(out + length, DATA, END_STREAM, f.stream, "ok", 2);
        if (put(w, out, length)) return;
    }
}

static void *serve(void *argument) {
    struct wire *w = argument;
    w->ssl = SSL_new(context);
    if (w->ssl && SSL_set_fd(w->ssl, w->fd) && SSL_accept(w->ssl) == 1) {
        const unsigned char *protocol;
        unsigned length;
        atomic_fetch_add(&accepted, 1);
        SSL_get0_alpn_selected(w->ssl, &protocol, &length);
        if (length == 2) serve_2(w);
        else serve_1(w);
    }
    hang_up(w);
    return NULL;
}

static int choose(SSL *ssl, const unsigned char **out, unsigned char *length, const unsigned char *offered,
                  unsigned size, void *unused) {
    static const unsigned char ours[] = "\2h2\10http/1.1";
    (void)ssl, (void)unused;
    return SSL_select_next_proto((unsigned char **)out, length, ours, sizeof ours - 1, offered, size) ==
                   OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

static void *end_with_input(void *unused) {
    char byte;
    while (read(0, &byte, 1) > 0) {}
    exit(0);
    return unused;
}

static void detach(void *(*run)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, run, argument)) die("thread");
}

static void run_server(char **arguments) {
    secret = arguments[2];
    pack_secret();
    context = SSL_CTX_new(TLS_server_method());
    if (!context || SSL_CTX_use_certificate_chain_file(context, arguments[0]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, arguments[1], SSL_FILETYPE_PEM) != 1)
        die("certificate");
    SSL_CTX_set_alpn_select_cb(context, choose, NULL);
    int listener = listen_and_tell(0);
    if (listener < 0) die("listen");
    detach(end_with_input, NULL);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) die("accept");
        struct wire *w = calloc(1, sizeof *w);
        if (!w) die("memory");
        w->fd = fd;
        detach(serve, w);
    }
}

/* ---- client ---- */

static const char *name, *host, *port, *key;
static int64_t *times;

static struct wire *dial(int is_h2) {
    static const unsigned char one[] = "\10http/1.1", two[] = "\2h2";
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    struct wire *w = calloc(1, sizeof *w);
    if (!w) die("memory");
    w->fd = -1;
    if (getaddrinfo(host, port, &hints, &found)) {
        fail("no such host");
        goto failed;
    }
    w->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int connected = connect(w->fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (connected) {
        fail("connect: %s", strerror(errno));
        goto failed;
    }
    no_delay(w->fd);
    w->ssl = SSL_new(context);
    SSL_set_fd(w->ssl, w->fd);
    SSL_set_tlsext_host_name(w->ssl, name);
    SSL_set1_host(w->ssl, name);
    SSL_set_alpn_protos(w->ssl, is_h2 ? two : one, is_h2 ? sizeof two - 1 : sizeof one - 1);
    if (SSL_connect(w->ssl) != 1) {
        fail("TLS");
        goto failed;
    }
    if (is_h2) {
        /* Room for all that the answers of a connection have. */
        unsigned char out[64], more[4] = {0x3f, 0xff, 0, 0};
        memcpy(out, PREFACE, sizeof PREFACE - 1);
        size_t length = sizeof PREFACE - 1;
        length += frame(out + length, SETTINGS, 0, 0, NULL, 0);
        length += frame(out + length, WINDOW, 0, 0, more, 4);
        if (put(w, out, length)) goto failed;
    }
    return w;
failed:
    hang_up(w);
    return NULL;
}

/* Sends a request of HTTP/1 and reads the head of its answer. */
static char *ask_1(struct wire *w, const char *path) {
    char request[512];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: %s:%s\r\nAccept: */*\r\nx-api-key: %s\r\n\r\n", path, name, port,
                          key);
    if (put(w, request, length)) return NULL;
    char *head = take_head(w);
    if (head && strncmp(head, "HTTP/1.1 200", 12)) {
        fail("the answer is %.12s", head);
        return NULL;
    }
    return head;
}

static long get_1(struct wire *w, const char *path) {
    char *head = ask_1(w, path), *field = head ? strcasestr(head, "content-length:") : NULL;
    char text[32] = "";
    if (!field) return head ? fail("the answer has no length") : -1;
    long length = strtol(field + 15, NULL, 10);
    char *body = take(w, length);
    if (!body || length >= (long)sizeof text) return -1;
    memcpy(text, body, length);
    return strcmp(text, "ok") ? strtol(text, NULL, 10) : 0;
}

/* A field of HTTP/2 that is in no table: its name from the static table, or as it is. */
static size_t field(unsigned char *to, int index, const char *label, const char *value) {
    size_t at = 0;
    to[at++] = index;
    if (!index) {
        to[at++] = strlen(label);
        memcpy(to + at, label, strlen(label));
        at += strlen(label);
    }
    to[at++] = strlen(value);
    memcpy(to + at, value, strlen(value));
    return at + strlen(value);
}

static long get_2(struct wire *w, const char *path) {
    unsigned char block[512], out[600];
    char authority[200];
    size_t length = 0, since = 0;
    snprintf(authority, sizeof authority, "%s:%s", name, port);
    block[length++] = 0x82; /* :method GET */
    block[length++] = 0x87; /* :scheme https */
    length += field(block + length, 1, NULL, authority);
    length += field(block + length, 4, NULL, path);
    length += field(block + length, 0, "x-api-key", key);
    w->stream = w->stream ? w->stream + 2 : 1;
    if (put(w, out, frame(out, HEADERS, END_HEADERS | END_STREAM, w->stream, block, length))) return -1;
    for (struct frame f; !take_frame(w, &f);) {
        if (f.kind == HEADERS && (!f.length || f.payload[0] != 0x88)) {
            /* A table may have been made smaller first (RFC 7541 section 6.3). */
            if (!f.length || !memchr(f.payload, 0x88, f.length)) return fail("the answer is not 200");
        }
        int kept = housekeeping(w, &f, &since);
        if (kept < 0) return -1;
        if (!kept && f.stream == w->stream && f.flags & END_STREAM) return 0;
    }
    return -1;
}

static long get(struct wire *w, int is_h2, const char *path) {
    return is_h2 ? get_2(w, path) : get_1(w, path);
}

static int tell_times(int count) {
    qsort(times, count, sizeof *times, ascending);
    printf("ok %lld %lld %lld\n", (long long)times[count / 2], (long long)times[count * 99 / 100],
           (long long)times[count - 1]);
    return 0;
}

static int gets(int is_h2, int count) {
    struct wire *w = dial(is_h2);
    if (!w) return -1;
    /* The first ones are not of a kept connection. */
    int result = 0, warm = 20;
    for (int i = -warm; i < count && !result; i++) {
        int64_t started = now();
        result = get(w, is_h2, "/") < 0 ? -1 : 0;
        if (i >= 0) times[i] = now() - started;
    }
    hang_up(w);
    return result ? result : tell_times(count);
}

static int connects(int is_h2, int count) {
    for (int i = 0; i < count; i++) {
        int64_t started = now();
        struct wire *w = dial(is_h2);
        if (!w) return -1;
        int result = get(w, is_h2, "/") < 0;
        times[i] = now() - started;
        hang_up(w);
        if (result) return -1;
    }
    return tell_times(count);
}

static int download(int64_t bytes) {
    char path[64];
    struct wire *w = dial(0);
    if (!w) return -1;
    snprintf(path, sizeof path, "/bytes/%lld", (long long)bytes);
    int64_t started = now(), left = bytes;
    int result = ask_1(w, path) ? 0 : -1;
    left -= w->filled - w->from;
    while (!result && left > 0) {
        int n = SSL_read(w->ssl, w->room, ROOM);
        if (n <= 0) result = fail("the connection ended with %lld bytes missing", (long long)left);
        else left -= n;
    }
    int64_t took = now() - started;
    hang_up(w);
    if (!result) printf("ok %lld %lld\n", (long long)bytes, (long long)took);
    return result;
}

static int events(int count, int us) {
    char path[64];
    struct wire *w = dial(0);
    if (!w) return -1;
    snprintf(path, sizeof path, "/events/%d/%d", count, us);
    int result = ask_1(w, path) ? 0 : -1, seen = 0;
    while (!result && seen < count) {
        char *at = memmem(w->room + w->from, w->filled - w->from, "data: ", 6);
        if (!at || w->room + w->filled - at < 27) {
            result = fill(w);
            continue;
        }
        times[seen++] = now() - strtoll(at + 6, NULL, 10);
        w->from = at + 27 - w->room;
    }
    hang_up(w);
    return result ? result : tell_times(count);
}

struct stream {
    pthread_t thread;
    int is_slow;
    atomic_llong moved;
    char failure[256];
};

static atomic_int is_over;

static void *run_stream(void *argument) {
    struct stream *s = argument;
    struct wire *w = dial(0);
    if (w && ask_1(w, "/bytes/1000000000000000")) {
        while (!atomic_load(&is_over)) {
            int n = SSL_read(w->ssl, w->room, s->is_slow ? PIECE : ROOM);
            if (n <= 0) {
                fail("a stream ended");
                break;
            }
            atomic_fetch_add(&s->moved, n);
            if (s->is_slow) usleep(PAUSE);
        }
    }
    strcpy(s->failure, failure);
    if (w) hang_up(w);
    return NULL;
}

static int streams(const char *kind, int count, int ms) {
    struct stream *all = calloc(count, sizeof *all);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    if (!all) return fail("memory");
    atomic_store(&is_over, 0);
    for (int i = 0; i < count; i++) {
        all[i].is_slow = kind[0] == 's';
        if (pthread_create(&all[i].thread, &attributes, run_stream, &all[i])) die("thread");
    }
    usleep((WARM_UP + 5 * count) * 1000);
    for (int i = 0; i < count; i++) atomic_store(&all[i].moved, 0);
    int64_t started = now(), total = 0, least = INT64_MAX;
    usleep(ms * 1000);
    int64_t took = now() - started;
    for (int i = 0; i < count; i++) {
        int64_t moved = atomic_load(&all[i].moved);
        total += moved;
        if (moved < least) least = moved;
    }
    atomic_store(&is_over, 1);
    int result = 0;
    for (int i = 0; i < count; i++) {
        pthread_join(all[i].thread, NULL);
        if (all[i].failure[0]) result = fail("%s", all[i].failure);
    }
    free(all);
    if (!result) printf("ok %lld %lld %lld\n", (long long)total, (long long)took, (long long)least);
    return result;
}

static int issuer(void) {
    struct wire *w = dial(0);
    if (!w) return -1;
    char text[64] = "";
    X509 *certificate = SSL_get1_peer_certificate(w->ssl);
    if (certificate)
        X509_NAME_get_text_by_NID(X509_get_issuer_name(certificate), NID_commonName, text, sizeof text);
    X509_free(certificate);
    hang_up(w);
    printf("ok %d\n", strcmp(text, "bench") != 0);
    return 0;
}

static int tell_accepted(void) {
    struct wire *w = dial(0);
    long count = w ? get_1(w, "/accepted") : -1;
    if (w) hang_up(w);
    if (count >= 0) printf("ok %ld\n", count);
    return count < 0 ? -1 : 0;
}

static void run_client(void) {
    char line[256], kind[32];
    long long bytes;
    int count, ms;
    while (fgets(line, sizeof line, stdin)) {
        int result;
        if (sscanf(line, "get %31s %d", kind, &count) == 2 && count <= MOST)
            result = gets(!strcmp(kind, "h2"), count);
        else if (sscanf(line, "connect %31s %d", kind, &count) == 2 && count <= MOST)
            result = connects(!strcmp(kind, "h2"), count);
        else if (sscanf(line, "download %lld", &bytes) == 1)
            result = download(bytes);
        else if (sscanf(line, "events %d %d", &count, &ms) == 2 && count <= MOST)
            result = events(count, ms);
        else if (sscanf(line, "streams %31s %d %d", kind, &count, &ms) == 3)
            result = streams(kind, count, ms);
        else if (!strcmp(line, "issuer\n"))
            result = issuer();
        else if (!strcmp(line, "accepted\n"))
            result = tell_accepted();
        else
            result = fail("no such command");
        if (result) printf("error %s\n", failure);
        fflush(stdout);
    }
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    if (count == 5 && !strcmp(arguments[1], "serve")) run_server(arguments + 2);
    if (count < 5) {
        fprintf(stderr, "usage: tlsload serve CERTIFICATE KEY SECRET | client NAME HOST PORT | "
                        "once NAME HOST PORT PROTOCOL\n");
        return 2;
    }
    name = arguments[2];
    host = arguments[3];
    port = arguments[4];
    key = getenv("BENCH_KEY");
    context = SSL_CTX_new(TLS_client_method());
    times = calloc(MOST, sizeof *times);
    if (!key || strlen(key) > 100 || !context || !times || SSL_CTX_set_default_verify_paths(context) != 1)
        die("start");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (count == 6 && !strcmp(arguments[1], "once")) {
        int is_h2 = !strcmp(arguments[5], "h2");
        struct wire *w = dial(is_h2);
        if (w && !get(w, is_h2, "/")) return 0;
        fprintf(stderr, "tlsload: %s\n", failure);
        return 1;
    }
    run_client();
    return 0;
}
