/* Attempts on Unix sockets: the host's must be out of reach by every way there is, one's own must work. */
#include "probe.h"

#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

/* A path, or an abstract name if `text` begins with `@`. */
static socklen_t address(struct sockaddr_un *to, const char *text)
{
	size_t n = strlen(text);
	memset(to, 0, sizeof *to);
	to->sun_family = AF_UNIX;
	if (n >= sizeof to->sun_path) {
		fprintf(stderr, "probe: socket name is too long\n");
		exit(2);
	}
	memcpy(to->sun_path, text, n);
	if (text[0] == '@') {
		to->sun_path[0] = 0;
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	}
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
}

static int connect_kind(const char *name, int kind)
{
	struct sockaddr_un to;
	socklen_t n = address(&to, name);
	int fd = socket(AF_UNIX, kind | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return errno;
	int error = result(connect(fd, (struct sockaddr *)&to, n));
	close(fd);
	return error;
}

static int connect_stream(char **args)
{
	return connect_kind(args[0], SOCK_STREAM);
}

static int connect_seqpacket(char **args)
{
	return connect_kind(args[0], SOCK_SEQPACKET);
}

/* By a relative name. */
static int connect_in(char **args)
{
	if (chdir(args[0]) == -1)
		return errno;
	return connect_kind(args[1], SOCK_STREAM);
}

/* By a handle of its folder. */
static int connect_handle(char **args)
{
	char path[108];
	int dir = open(args[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir == -1)
		return errno;
	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dir, args[1]);
	return connect_kind(path, SOCK_STREAM);
}

/* By a handle of the socket itself. */
static int connect_handle_itself(char **args)
{
	char path[108];
	int file = open(args[0], O_PATH | O_CLOEXEC);
	if (file == -1)
		return errno;
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	return connect_kind(path, SOCK_STREAM);
}

/* One message on `fd` to the address args[0] in the way args[1]. */
static int send_how(int fd, char **args)
{
	struct sockaddr_un to;
	socklen_t n = address(&to, args[0]);
	struct iovec iov = {"x", 1};
	struct mmsghdr many = {.msg_hdr = {.msg_name = &to, .msg_namelen = n, .msg_iov = &iov, .msg_iovlen = 1}};

	if (strcmp(args[1], "sendto") == 0)
		return result(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, n));
	if (strcmp(args[1], "sendmsg") == 0)
		return result(sendmsg(fd, &many.msg_hdr, 0));
	if (strcmp(args[1], "sendmmsg") == 0)
		return result(sendmmsg(fd, &many, 1, 0));
	if (connect(fd, (struct sockaddr *)&to, n) == -1)
		return errno;
	return result(send(fd, "x", 1, 0));
}

static int dgram_send(char **args)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return errno;
	return send_how(fd, args);
}

/* SOCK_RAW is another word for SOCK_DGRAM here. */
static int raw_send(char **args)
{
	int fd = socket(AF_UNIX, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return errno;
	return send_how(fd, args);
}

/* A datagram pair can send to any address too. */
static int pair_send(char **args)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) == -1)
		return errno;
	return send_how(fds[0], args);
}

static int pair(char **args)
{
	int fds[2];
	char byte;
	if (socketpair(AF_UNIX, (int)number(args[0]), 0, fds) == -1)
		return errno;
	if (write(fds[0], "x", 1) != 1)
		return errno;
	return read(fds[1], &byte, 1) == 1 && byte == 'x' ? 0 : EPROTO;
}

/* A server and a client of our own; with args[1] = `nonblock` as event loops do it. */
static int local_kind(const char *name, int kind)
{
	struct sockaddr_un to;
	socklen_t n = address(&to, name);
	int server = socket(AF_UNIX, (kind & ~SOCK_NONBLOCK) | SOCK_CLOEXEC, 0);
	if (server == -1 || bind(server, (struct sockaddr *)&to, n) == -1 || listen(server, 1) == -1)
		return errno;
	pid_t child = fork();
	if (child == 0) {
		char byte = 0;
		int fd = socket(AF_UNIX, kind | SOCK_CLOEXEC, 0);
		if (fd == -1 || connect(fd, (struct sockaddr *)&to, n) == -1)
			_exit(errno);
		fcntl(fd, F_SETFL, 0);
		if (read(fd, &byte, 1) != 1 || byte != 'x')
			_exit(EPROTO);
		_exit(0);
	}
	struct timeval limit = {5, 0};
	setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	int fd = accept(server, NULL, NULL);
	int error = fd == -1 || write(fd, "x", 1) != 1 ? errno : 0;
	close(fd);
	if (name[0] != '@')
		unlink(name);
	int code = wait_code(child);
	return code ? code : error;
}

static int local(char **args)
{
	return local_kind(args[0], SOCK_STREAM);
}

static int local_nonblock(char **args)
{
	return local_kind(args[0], SOCK_STREAM | SOCK_NONBLOCK);
}

static int local_seqpacket(char **args)
{
	return local_kind(args[0], SOCK_SEQPACKET);
}

/* Passes a descriptor between two processes, as multiprocessing does. */
static int pass_fd(char **args)
{
	int fds[2], pipes[2];
	(void)args;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == -1 || pipe(pipes) == -1)
		return errno;
	char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &pipes[1], sizeof(int));
	if (sendmsg(fds[0], &message, 0) == -1)
		return errno;
	pid_t child = fork();
	if (child == 0) {
		int got;
		if (recvmsg(fds[1], &message, 0) == -1)
			_exit(errno);
		memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
		_exit(result(write(got, "y", 1)));
	}
	int code = wait_code(child);
	return code ? code : read(pipes[0], &byte, 1) == 1 && byte == 'y' ? 0 : EPROTO;
}

/*
 * A server on args[0] whose queue is full: a connect then waits, as it should, and is served in the end. Meanwhile
 * a server on args[1] has to be reachable.
 */
static int full_backlog(char **args)
{
	struct sockaddr_un to;
	socklen_t n = address(&to, args[0]);
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(args[0]);
	if (server == -1 || bind(server, (struct sockaddr *)&to, n) == -1 || listen(server, 1) == -1)
		return errno;
	int queued = 0;
	for (;; queued++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&to, n) == -1) {
			if (errno != EAGAIN)
				return errno;
			close(fd);
			break;
		}
	}
	pid_t patient = fork();
	if (patient == 0)
		_exit(connect_kind(args[0], SOCK_STREAM));
	usleep(100000);
	int error = local_kind(args[1], SOCK_STREAM);
	if (waitpid(patient, NULL, WNOHANG) != 0)
		error = EPROTO; /* it did not wait */
	for (; queued > 0; queued--)
		close(accept(server, NULL, NULL));
	close(accept(server, NULL, NULL));
	unlink(args[0]);
	int code = wait_code(patient);
	return error ? error : code;
}

/* The address that the racing thread rewrites while connect(2) looks at it. */
static struct sockaddr_un racing;
static const char *mine, *theirs, *link_name;
static volatile int racing_ends;

static void *rewrite_address(void *unused)
{
	while (!racing_ends) {
		strcpy(racing.sun_path, theirs);
		strcpy(racing.sun_path, mine);
	}
	return unused;
}

static void *rewrite_link(void *unused)
{
	char other[4096];
	snprintf(other, sizeof other, "%s.new", link_name);
	for (int turn = 0; !racing_ends; turn ^= 1) {
		unlink(other);
		if (symlink(turn ? theirs : mine, other) == 0)
			rename(other, link_name);
	}
	return unused;
}

static void *accept_mine(void *server)
{
	for (;;) {
		int fd = accept(*(int *)server, NULL, NULL);
		if (fd == -1)
			return NULL;
		if (write(fd, "m", 1) == -1)
			perror("write");
		close(fd);
	}
}

/*
 * Connects again and again while another thread changes where to. A socket of our own (`mine`) answers `m`,
 * the host's (`theirs`) anything else. Prints how often each was reached.
 */
static int race(long ms, void *(*rewrite)(void *))
{
	struct sockaddr_un own;
	socklen_t n = address(&own, mine);
	pthread_t threads[2];
	struct timespec start, now;
	long reached_mine = 0, reached_theirs = 0;
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(mine);
	if (server == -1 || bind(server, (struct sockaddr *)&own, n) == -1 || listen(server, 64) == -1)
		return errno;
	pthread_create(&threads[0], NULL, accept_mine, &server);
	pthread_create(&threads[1], NULL, rewrite, NULL);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct timeval limit = {2, 0};
		char byte = 0;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		if (connect(fd, (struct sockaddr *)&racing, sizeof racing) == 0 && read(fd, &byte, 1) == 1)
			*(byte == 'm' ? &reached_mine : &reached_theirs) += 1;
		close(fd);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
	racing_ends = 1;
	pthread_join(threads[1], NULL);
	unlink(mine);
	printf("mine %ld\ntheirs %ld\n", reached_mine, reached_theirs);
	return REPORTED;
}

static int race_address(char **args)
{
	mine = args[0];
	theirs = args[1];
	address(&racing, mine);
	return race(number(args[2]), rewrite_address);
}

static int race_link(char **args)
{
	mine = args[0];
	theirs = args[1];
	link_name = args[3];
	address(&racing, link_name);
	return race(number(args[2]), rewrite_link);
}

const struct entry unix_attempts[] = {
	{"unix-connect", 1, connect_stream},
	{"unix-connect-seqpacket", 1, connect_seqpacket},
	{"unix-connect-in", 2, connect_in},
	{"unix-connect-handle", 2, connect_handle},
	{"unix-connect-handle-itself", 1, connect_handle_itself},
	{"unix-dgram-send", 2, dgram_send},
	{"unix-raw-send", 2, raw_send},
	{"unix-pair-send", 2, pair_send},
	{"unix-pair", 1, pair},
	{"unix-local", 1, local},
	{"unix-local-nonblock", 1, local_nonblock},
	{"unix-local-seqpacket", 1, local_seqpacket},
	{"unix-pass-fd", 0, pass_fd},
	{"unix-backlog", 2, full_backlog},
	{"unix-race", 3, race_address},
	{"unix-race-link", 4, race_link},
	{0},
};
