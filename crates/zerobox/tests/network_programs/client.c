/* A static binary with the C library's own resolver, or with one of its own that asks a server over UDP and TCP:
 *   client get HOST PORT    connect to the first address that works, and print the answer to a GET
 *   client ask SERVER NAME  an A query in a datagram, as programs do that bring their own resolver; prints the address
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int fail(const char *step) {
    fprintf(stderr, "%s: %s\n", step, strerror(errno));
    return 1;
}

static int talk(int fd, const char *host, const char *port) {
    char data[4096];
    int size = snprintf(data, sizeof data, "GET / HTTP/1.0\r\nHost: %s:%s\r\n\r\n", host, port);
    ssize_t got;
    if (write(fd, data, size) != size) return fail("write");
    while ((got = read(fd, data, sizeof data)) > 0) fwrite(data, 1, got, stdout);
    return got == 0 ? 0 : fail("read");
}

static int get(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all;
    int error = getaddrinfo(host, port, &hints, &all);
    if (error != 0) {
        fprintf(stderr, "getaddrinfo: %s\n", gai_strerror(error));
        return 1;
    }
    for (struct addrinfo *one = all; one != NULL; one = one->ai_next) {
        int fd = socket(one->ai_family, one->ai_socktype, 0);
        if (fd >= 0 && connect(fd, one->ai_addr, one->ai_addrlen) == 0) return talk(fd, host, port);
    }
    return fail("connect");
}

static int ask(const char *server, const char *name) {
    unsigned char packet[512] = {0x12, 0x34, 1, 0, 0, 1};
    size_t size = 12;
    while (*name != 0) {
        size_t length = strcspn(name, ".");
        packet[size++] = (unsigned char)length;
        memcpy(packet + size, name, length);
        size += length;
        name += length + (name[length] == '.');
    }
    memcpy(packet + size, "\0\0\1\0\1", 5);
    size += 5;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
    struct timeval limit = {.tv_sec = 20};
    inet_pton(AF_INET, server, &to.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) return fail("connect");
    if (send(fd, packet, size, 0) < 0) return fail("send");
    ssize_t got = recv(fd, packet, sizeof packet, 0);
    if (got < 12) return fail("recv");
    if ((packet[3] & 15) != 0 || packet[7] == 0) {
        fprintf(stderr, "rcode %d, %d answers\n", packet[3] & 15, packet[7]);
        return 1;
    }
    /* The address ends the answer if no EDNS record follows, for which we did not ask. */
    printf("%d.%d.%d.%d\n", packet[got - 4], packet[got - 3], packet[got - 2], packet[got - 1]);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "get") == 0) return get(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "ask") == 0) return ask(argv[2], argv[3]);
    return 2;
}
