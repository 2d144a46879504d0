/* Attempts on the network and on socket families that lead to the kernel or to a hypervisor. */
#include "probe.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>

/* An IPv4 or IPv6 address with its port. */
static socklen_t address(struct sockaddr_storage *to, const char *host, long port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
	memset(to, 0, sizeof *to);
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		return sizeof *v4;
	}
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1) {
		fprintf(stderr, "probe: `%s` is not an address\n", host);
		exit(2);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	return sizeof *v6;
}

/* Waits two seconds at most, so that a silent drop is an answer too. */
static int tcp_connect(char **args)
{
	struct sockaddr_storage to;
	socklen_t n = address(&to, args[0], number(args[1]));
	int error = 0, fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof error;
	if (fd == -1)
		return errno;
	if (connect(fd, (struct sockaddr *)&to, n) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return errno;
	struct pollfd wait = {fd, POLLOUT, 0};
	if (poll(&wait, 1, 2000) != 1)
		return ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error;
}

/* Sends a datagram and waits for its echo. */
static int udp_echo(char **args)
{
	struct sockaddr_storage to;
	struct timeval limit = {2, 0};
	char byte;
	socklen_t n = address(&to, args[0], number(args[1]));
	int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&to, n) == -1 || send(fd, "x", 1, 0) == -1)
		return errno;
	return result(recv(fd, &byte, 1, 0));
}

/* A server and a client of our own on an address of this machine. */
static int tcp_local(char **args)
{
	struct sockaddr_storage at;
	char byte = 0;
	socklen_t n = address(&at, args[0], 0);
	int server = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server == -1 || client == -1)
		return errno;
	if (bind(server, (struct sockaddr *)&at, n) == -1 || listen(server, 1) == -1)
		return errno;
	getsockname(server, (struct sockaddr *)&at, &n);
	if (connect(client, (struct sockaddr *)&at, n) == -1)
		return errno;
	int fd = accept(server, NULL, NULL);
	if (fd == -1 || write(fd, "x", 1) != 1)
		return errno;
	return read(client, &byte, 1) == 1 && byte == 'x' ? 0 : EPROTO;
}

static int netlink(char **args)
{
	return result(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, (int)number(args[0])));
}

/* Every interface with an address, one a line. */
static int interfaces(char **args)
{
	struct ifaddrs *all;
	(void)args;
	if (getifaddrs(&all) == -1)
		return errno;
	for (struct ifaddrs *one = all; one; one = one->ifa_next)
		puts(one->ifa_name);
	return REPORTED;
}

static int family(char **args)
{
	return result(socket((int)number(args[0]), (int)number(args[1]) | SOCK_CLOEXEC, (int)number(args[2])));
}

static int packet(char **args)
{
	(void)args;
	own_namespaces(CLONE_NEWNET);
	return result(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(3)));
}

static int raw_socket(char **args)
{
	(void)args;
	own_namespaces(CLONE_NEWNET);
	return result(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
}

static int vsock(char **args)
{
	(void)args;
	return result(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

const struct entry network_attempts[] = {
	{"tcp-connect", 2, tcp_connect},
	{"udp-echo", 2, udp_echo},
	{"tcp-local", 1, tcp_local},
	{"netlink", 1, netlink},
	{"interfaces", 0, interfaces},
	{"family", 3, family},
	{"packet", 0, packet},
	{"rawsock", 0, raw_socket},
	{"vsock", 0, vsock},
	{0},
};
