/*
 * Helpers that run on the host's side of a test: a process to attack, a server to reach, a terminal to run on.
 * Each dies with the test program (its parent).
 */
#include "probe.h"

#include <netinet/in.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

static char secret[16] = "victim-secret";

/* Prints its pid, the address of a secret and the id of a System V segment, and waits to be killed. */
static int victim(char **args)
{
	(void)args;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	if (id == -1)
		return errno;
	char *at = shmat(id, NULL, 0);
	if (at == (char *)-1)
		return errno;
	memcpy(at, secret, sizeof secret);
	/* The segment lives as long as this process is attached to it, and new ones may still attach by id. */
	shmctl(id, IPC_RMID, NULL);
	printf("%d %lu %d\n", getpid(), (unsigned long)secret, id);
	fflush(stdout);
	for (;;)
		pause();
}

/* Lives for a day, with a mark in its arguments that a test can look for. */
static int sleep_marked(char **args)
{
	(void)args;
	while (pause() == -1)
		;
	return 0;
}

/* Listens on args[1]; says `ready PORT`, then `contact` whenever somebody gets through. */
static int serve(char **args)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	size_t n = strlen(args[1]);
	int kind = strncmp(args[0], "dgram", 5) == 0 || strcmp(args[0], "udp") == 0 ? SOCK_DGRAM
		 : strcmp(args[0], "seqpacket") == 0                                ? SOCK_SEQPACKET
										    : SOCK_STREAM;
	int internet = strcmp(args[0], "tcp") == 0 || strcmp(args[0], "udp") == 0;
	int fd = socket(internet ? AF_INET : AF_UNIX, kind | SOCK_CLOEXEC, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd == -1)
		return errno;
	if (n >= sizeof un.sun_path)
		return ENAMETOOLONG;
	memcpy(un.sun_path, args[1], n);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (args[1][0] == '@')
		un.sun_path[0] = 0;
	else
		size++;
	if (bind(fd, internet ? (struct sockaddr *)&in : (struct sockaddr *)&un, internet ? sizeof in : size) == -1)
		return errno;
	if (kind != SOCK_DGRAM && listen(fd, 64) == -1)
		return errno;
	size = sizeof in;
	if (internet)
		getsockname(fd, (struct sockaddr *)&in, &size);
	printf("ready %d\n", ntohs(in.sin_port));
	fflush(stdout);
	for (;;) {
		char byte;
		struct sockaddr_storage from;
		size = sizeof from;
		if (kind == SOCK_DGRAM) {
			if (recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&from, &size) == -1)
				return errno;
			if (internet && sendto(fd, &byte, 1, 0, (struct sockaddr *)&from, size) == -1)
				return errno;
		} else {
			int client = accept(fd, NULL, NULL);
			if (client == -1)
				return errno;
			if (send(client, "t", 1, MSG_NOSIGNAL) == -1 && errno != EPIPE && errno != ECONNRESET)
				return errno;
			close(client);
		}
		puts("contact");
		fflush(stdout);
	}
}

/* What the terminal has shown so far and how much of it earlier steps have used up. */
static char shown[1 << 20];
static size_t shown_size, shown_used;

/* Reads what the terminal shows for up to `ms`; 0 at its end. */
static int pump(int master, int ms)
{
	struct pollfd wait = {master, POLLIN, 0};
	if (poll(&wait, 1, ms) != 1)
		return 1;
	if (shown_size == sizeof shown)
		return 0;
	ssize_t n = read(master, shown + shown_size, sizeof shown - shown_size);
	if (n <= 0)
		return 0;
	if (write(1, shown + shown_size, (size_t)n) != n)
		return 0;
	shown_size += (size_t)n;
	return 1;
}

static int pending(int master)
{
	struct pollfd wait = {master, POLLIN, 0};
	return poll(&wait, 1, 0) == 1 && (wait.revents & POLLIN);
}

static int expect(int master, const char *text)
{
	struct timespec start, now;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int open = 1;;) {
		char *at = memmem(shown + shown_used, shown_size - shown_used, text, strlen(text));
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (at) {
			shown_used = (size_t)(at - shown) + strlen(text);
			return 1;
		}
		if (!open || now.tv_sec - start.tv_sec > 10)
			return 0;
		open = pump(master, 100);
	}
}

/*
 * Runs a command on a new terminal as its controlling one: `pty STEP... -- COMMAND...`. Steps, in order:
 * `expect=TEXT` (ten seconds at most), `send=TEXT`, `size=ROWSxCOLUMNS`, `sleep=MS`, `hangup`. Everything the
 * terminal shows goes to stdout. Exits as the command does, or 99 when an expected text did not come.
 */
static int on_terminal(char **args)
{
	struct winsize size = {24, 80, 0, 0};
	int master, rows, columns;
	char **command = args;
	while (*command && strcmp(*command, "--") != 0)
		command++;
	if (!*command)
		return EINVAL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pid_t child = forkpty(&master, NULL, NULL, &size);
	if (child == -1)
		return errno;
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(command[1], command + 1);
		perror("exec");
		_exit(127);
	}
	for (char **step = args; step < command; step++) {
		if (strncmp(*step, "expect=", 7) == 0) {
			if (expect(master, *step + 7))
				continue;
			fprintf(stderr, "pty: `%s` did not appear\n", *step + 7);
			kill(-child, SIGKILL);
			kill(child, SIGKILL);
			exit(99);
		} else if (strncmp(*step, "send=", 5) == 0) {
			if (write(master, *step + 5, strlen(*step + 5)) == -1)
				return errno;
		} else if (sscanf(*step, "size=%dx%d", &rows, &columns) == 2) {
			size.ws_row = (unsigned short)rows;
			size.ws_col = (unsigned short)columns;
			ioctl(master, TIOCSWINSZ, &size);
		} else if (strncmp(*step, "sleep=", 6) == 0) {
			usleep((useconds_t)number(*step + 6) * 1000);
		} else if (strcmp(*step, "hangup") == 0) {
			close(master);
			master = -1;
		} else {
			return EINVAL;
		}
	}
	while (master != -1 && pump(master, 200)) {
		siginfo_t ended = {0};
		waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT);
		if (ended.si_pid == child && !pending(master))
			break;
	}
	exit(wait_code(child));
}

const struct entry host_helpers[] = {
	{"victim", 0, victim},
	{"sleep", 1, sleep_marked},
	{"serve", 2, serve},
	{"pty", 2, on_terminal},
	{0},
};
