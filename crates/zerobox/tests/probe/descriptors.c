/* Attempts with descriptors that this process was given. */
#include "probe.h"

#include <arpa/inet.h>
#include <sys/socket.h>

/* Takes a connected socket off its peer and connects it to the port args[1] of this machine. */
static int reconnect(char **args)
{
	struct sockaddr_in to = {.sin_family = AF_UNSPEC};
	int fd = (int)number(args[0]);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) == -1)
		return errno;
	to.sin_family = AF_INET;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((uint16_t)number(args[1]));
	return result(connect(fd, (struct sockaddr *)&to, sizeof to));
}

static int write_fd(char **args)
{
	return result(write((int)number(args[0]), "x", 1));
}

/* Reopens an inherited descriptor for writing through /proc. */
static int reopen(char **args)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%ld", number(args[0]));
	return result(open(path, O_WRONLY | O_CLOEXEC));
}

static int read_fd(char **args)
{
	char byte;
	return result(read((int)number(args[0]), &byte, 1));
}

static int read_at_fd(char **args)
{
	return result(openat((int)number(args[0]), args[1], O_RDONLY | O_CLOEXEC));
}

static int stat_at_fd(char **args)
{
	struct stat st;
	return result(fstatat((int)number(args[0]), args[1], &st, 0));
}

static int chmod_at_fd(char **args)
{
	return result(fchmodat((int)number(args[0]), args[1], (mode_t)number(args[2]), 0));
}

static int chmod_fd(char **args)
{
	return result(fchmod((int)number(args[0]), (mode_t)number(args[1])));
}

static int change_dir_fd(char **args)
{
	return result(fchdir((int)number(args[0])));
}

/* Every open descriptor and what it is, one a line. */
static int list_fds(char **args)
{
	(void)args;
	for (int fd = 0; fd < 1024; fd++) {
		char path[64], target[4096];
		if (fcntl(fd, F_GETFD) == -1)
			continue;
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, target, sizeof target - 1);
		target[n == -1 ? 0 : n] = 0;
		printf("%d %s\n", fd, target);
	}
	return REPORTED;
}

const struct entry descriptor_attempts[] = {
	{"open-fd", 1, reopen},
	{"read-fd", 1, read_fd},
	{"write-fd", 1, write_fd},
	{"reconnect", 2, reconnect},
	{"read-at-fd", 2, read_at_fd},
	{"stat-at-fd", 2, stat_at_fd},
	{"chmod-at-fd", 3, chmod_at_fd},
	{"chmod-fd", 2, chmod_fd},
	{"chdir-fd", 1, change_dir_fd},
	{"list-fds", 0, list_fds},
	{0},
};
