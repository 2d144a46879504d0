/* Attempts on hosts by name or address, and on the network that they are reached by. */
#include "probe.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>

/*
 * The first address of a host. The names of the tests end with .test: without the sandbox nobody knows them, and
 * they are the loopback. 0, or an error that was printed.
 */
static int resolve(const char *host, const char *port, int kind, struct sockaddr_storage *to, socklen_t *n)
{
	struct addrinfo *found, want = {.ai_socktype = kind};
	size_t length = strlen(host);
	if (getenv("PROBE_BARE") && length > 5 && strcmp(host + length - 5, ".test") == 0)
		host = "127.0.0.1";
	int error = getaddrinfo(host, port, &want, &found);
	if (error) {
		puts(error == EAI_NONAME ? "EAI_NONAME" : error == EAI_AGAIN ? "EAI_AGAIN" : gai_strerror(error));
		return REPORTED;
	}
	memcpy(to, found->ai_addr, found->ai_addrlen);
	*n = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

/* A socket of `protocol` whose waits end after `seconds`; -1 with errno. */
static int patient_socket(int family, int kind, int protocol, int seconds)
{
	struct timeval limit = {seconds, 0};
	int fd = socket(family, kind | SOCK_CLOEXEC, protocol);
	if (fd != -1) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	}
	return fd;
}

/* Waits for the first byte of a server that speaks first. */
static int hear(int fd)
{
	char byte;
	ssize_t got = recv(fd, &byte, 1, 0);
	if (got != 0)
		return result(got);
	puts("closed");
	return REPORTED;
}

/* Connects, from `from` if there is one, and waits for the server. Five seconds at most. */
static int talk_over(int protocol, const char *from, const char *host, const char *port)
{
	struct sockaddr_storage to, own;
	socklen_t n, m;
	int error = resolve(host, port, SOCK_STREAM, &to, &n);
	if (!error && from)
		error = resolve(from, "0", SOCK_STREAM, &own, &m);
	if (error)
		return error;
	int fd = patient_socket(to.ss_family, SOCK_STREAM, protocol, 5);
	if (fd == -1 || (from && bind(fd, (struct sockaddr *)&own, m) == -1))
		return errno;
	return connect(fd, (struct sockaddr *)&to, n) == -1 ? errno : hear(fd);
}

static int talk(char **args)
{
	return talk_over(0, NULL, args[0], args[1]);
}

/* Over MPTCP, which rules about TCP may not see. */
static int talk_mptcp(char **args)
{
	return talk_over(262 /* IPPROTO_MPTCP */, NULL, args[0], args[1]);
}

/* From the address that the supervisor's own connections come from. */
static int talk_from(char **args)
{
	return talk_over(0, args[0], args[1], args[2]);
}

/* Without connect(2): the first packet has data (TCP fast open). */
static int talk_fast(char **args)
{
	struct sockaddr_storage to;
	socklen_t n;
	int error = resolve(args[0], args[1], SOCK_STREAM, &to, &n);
	if (error)
		return error;
	int fd = patient_socket(to.ss_family, SOCK_STREAM, 0, 5);
	if (fd == -1 || sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&to, n) == -1)
		return errno;
	return hear(fd);
}

/* Sends a datagram on a connected socket and waits three seconds for its echo. */
static int ask(char **args)
{
	struct sockaddr_storage to;
	socklen_t n;
	int error = resolve(args[0], args[1], SOCK_DGRAM, &to, &n);
	if (error)
		return error;
	int fd = patient_socket(to.ss_family, SOCK_DGRAM, 0, 3);
	if (fd == -1 || connect(fd, (struct sockaddr *)&to, n) == -1 || send(fd, "x", 1, 0) == -1)
		return errno;
	return hear(fd);
}

struct request {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg address;
		struct rtmsg route;
	};
	char attributes[256];
};

static void attribute(struct request *r, unsigned short type, const void *data, unsigned short size)
{
	struct rtattr *a = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->head.nlmsg_len));
	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(size);
	memcpy(RTA_DATA(a), data, size);
	r->head.nlmsg_len = NLMSG_ALIGN(r->head.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

/* Asks the kernel to change the network: args[0] is `down`, `dummy`, `address`, `route` or `unroute`. */
static int change(char **args)
{
	struct request r = {.head = {.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK}};
	struct in_addr where = {htonl(0xc0000201)};
	int one = 1;
	own_namespaces(CLONE_NEWNET);
	if (strcmp(args[0], "down") == 0) {
		r.head.nlmsg_len = NLMSG_LENGTH(sizeof r.link);
		r.head.nlmsg_type = RTM_NEWLINK;
		r.link = (struct ifinfomsg){.ifi_index = 1, .ifi_change = IFF_UP};
	} else if (strcmp(args[0], "dummy") == 0) {
		struct { struct rtattr info; struct rtattr kind; char name[8]; } info = {
			.info = {0, 0}, .kind = {RTA_LENGTH(5), IFLA_INFO_KIND}, .name = "dummy"};
		r.head.nlmsg_len = NLMSG_LENGTH(sizeof r.link);
		r.head.nlmsg_type = RTM_NEWLINK;
		r.head.nlmsg_flags |= NLM_F_CREATE | NLM_F_EXCL;
		attribute(&r, IFLA_LINKINFO, &info.kind, RTA_LENGTH(5));
	} else if (strcmp(args[0], "address") == 0) {
		r.head.nlmsg_len = NLMSG_LENGTH(sizeof r.address);
		r.head.nlmsg_type = RTM_NEWADDR;
		r.head.nlmsg_flags |= NLM_F_CREATE;
		r.address = (struct ifaddrmsg){.ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = 1};
		attribute(&r, IFA_LOCAL, &where, sizeof where);
	} else {
		r.head.nlmsg_len = NLMSG_LENGTH(sizeof r.route);
		r.head.nlmsg_type = RTM_NEWROUTE;
		r.head.nlmsg_flags |= NLM_F_CREATE;
		r.route = (struct rtmsg){.rtm_family = AF_INET, .rtm_dst_len = 32, .rtm_table = RT_TABLE_LOCAL,
			.rtm_protocol = RTPROT_BOOT, .rtm_scope = RT_SCOPE_HOST, .rtm_type = RTN_LOCAL};
		attribute(&r, RTA_DST, &where, sizeof where);
		attribute(&r, RTA_OIF, &one, sizeof one);
	}
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd == -1)
		return errno;
	/* A network of our own begins with its loopback down, and then has no routes. */
	if (getenv("PROBE_BARE") && r.head.nlmsg_type == RTM_NEWROUTE) {
		struct request up = {.head = {NLMSG_LENGTH(sizeof up.link), RTM_NEWLINK, NLM_F_REQUEST, 0, 0},
			.link = {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP}};
		if (send(fd, &up, up.head.nlmsg_len, 0) == -1)
			return errno;
	}
	if (send(fd, &r, r.head.nlmsg_len, 0) == -1)
		return errno;
	struct { struct nlmsghdr head; struct nlmsgerr error; char rest[512]; } answer;
	if (recv(fd, &answer, sizeof answer, 0) == -1)
		return errno;
	return answer.head.nlmsg_type == NLMSG_ERROR ? -answer.error.error : EPROTO;
}

/* An option of a socket that only a network's owner may set: IP_TRANSPARENT, SO_MARK. */
static int option(char **args)
{
	int one = 1;
	own_namespaces(CLONE_NEWNET);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return errno;
	return result(setsockopt(fd, (int)number(args[0]), (int)number(args[1]), &one, sizeof one));
}

const struct entry talk_attempts[] = {
	{"talk", 2, talk},
	{"talk-mptcp", 2, talk_mptcp},
	{"talk-fast", 2, talk_fast},
	{"talk-from", 3, talk_from},
	{"ask", 2, ask},
	{"network-change", 1, change},
	{"network-option", 2, option},
	{0},
};
