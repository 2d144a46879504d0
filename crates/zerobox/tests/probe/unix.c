/* Attempts on Unix sockets: the host's must be out of reach by every way there is, one's own must work. */
#include "probe.h"

#include <pthread.h>
#include <signal.h>
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

/* A server whose queue is full, and how many are in it; -1 with an errno. */
static int full_server(const char *name, int *queued)
{
	struct sockaddr_un to;
	socklen_t n = address(&to, name);
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(name);
	if (server == -1 || bind(server, (struct sockaddr *)&to, n) == -1 || listen(server, 1) == -1)
		return -1;
	for (*queued = 0;; ++*queued) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&to, n) == -1)
			return errno == EAGAIN ? server : -1;
	}
}

/* args[1] processes connect to a full server; prints how many still wait after a second. */
static int many_waiting(char **args)
{
	int queued, waiting = 0, count = (int)number(args[1]);
	pid_t *children = calloc((size_t)count, sizeof *children);
	if (full_server(args[0], &queued) == -1)
		return errno;
	for (int i = 0; i < count; i++)
		if ((children[i] = fork()) == 0)
			_exit(connect_kind(args[0], SOCK_STREAM));
	usleep(1000000);
	for (int i = 0; i < count; i++) {
		waiting += waitpid(children[i], NULL, WNOHANG) == 0;
		kill(children[i], SIGKILL);
	}
	unlink(args[0]);
	printf("%d\n", waiting);
	return REPORTED;
}

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
	signalled = number;
}

/* A signal arrives while connect waits for a full server; with args[1] = 1 the handler says SA_RESTART. */
static int interrupted(char **args)
{
	int queued, server = full_server(args[0], &queued);
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = number(args[1]) ? SA_RESTART : 0};
	if (server == -1)
		return errno;
	sigaction(SIGUSR1, &action, NULL);
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		usleep(300000);
		kill(parent, SIGUSR1);
		usleep(1000000);
		for (; queued >= 0; queued--)
			close(accept(server, NULL, NULL));
		_exit(0);
	}
	struct timespec start, now;
	clock_gettime(CLOCK_MONOTONIC, &start);
	int error = connect_kind(args[0], SOCK_STREAM);
	clock_gettime(CLOCK_MONOTONIC, &now);
	int early = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 900;
	kill(child, SIGKILL);
	wait_code(child);
	unlink(args[0]);
	if (!signalled || early != (error != 0))
		return EPROTO;
	return error;
}

/* A socket that does not want to wait longer than 200 ms. */
static int impatient(char **args)
{
	struct sockaddr_un to;
	struct timeval limit = {0, 200000};
	int queued;
	socklen_t n = address(&to, args[0]);
	if (full_server(args[0], &queued) == -1)
		return errno;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	int error = result(connect(fd, (struct sockaddr *)&to, n));
	unlink(args[0]);
	return error;
}

/* A server of our own in the folder args[0] is reached by every spelling that leads through our own links in /proc. */
static int local_by_links(char **args)
{
	struct sockaddr_un to;
	char paths[6][108];
	if (chdir(args[0]) == -1)
		return errno;
	socklen_t n = address(&to, "own.sock");
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server == -1 || bind(server, (struct sockaddr *)&to, n) == -1 || listen(server, 16) == -1)
		return errno;
	int dir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), file = open("own.sock", O_PATH | O_CLOEXEC);
	snprintf(paths[0], sizeof paths[0], "/proc/self/fd/%d/own.sock", dir);
	snprintf(paths[1], sizeof paths[1], "/proc/thread-self/fd/%d//own.sock", dir);
	snprintf(paths[2], sizeof paths[2], "/dev/fd/%d/own.sock", dir);
	snprintf(paths[3], sizeof paths[3], "/proc/self/cwd/own.sock");
	snprintf(paths[4], sizeof paths[4], "/proc/self/root%.60s/own.sock", args[0]);
	snprintf(paths[5], sizeof paths[5], "/proc/self/fd/%d", file);
	int error = 0;
	for (int i = 0; i < 6 && !error; i++)
		if (i != 4 || strlen(args[0]) <= 60)
			error = connect_kind(paths[i], SOCK_STREAM);
	unlink("own.sock");
	return error;
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
	{"unix-many-waiting", 2, many_waiting},
	{"unix-interrupted", 2, interrupted},
	{"unix-impatient", 1, impatient},
	{"unix-local-by-links", 1, local_by_links},
	{"unix-race", 3, race_address},
	{"unix-race-link", 4, race_link},
	{0},
};
