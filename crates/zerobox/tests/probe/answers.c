/* Many attempts in one process: what the kernel says to the questions that `zerobox why` is asked. */
#include "probe.h"

#include <dirent.h>
#include <libgen.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return errno;
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	int error = result(connect(fd, (struct sockaddr *)&address, sizeof address));
	close(fd);
	return error;
}

static int open_it(const char *path, int flags, int is_directory)
{
	int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd == -1)
		/* A pipe that nobody reads, a device that is not there: the permissions were looked at before. */
		return errno == ENXIO ? 0 : errno;
	char buffer[512];
	int error = is_directory ? result(syscall(SYS_getdents64, fd, buffer, sizeof buffer)) : 0;
	close(fd);
	return error;
}

static int make_in(const char *directory)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/probe-made", directory);
	if (mkdir(path, 0700) == -1)
		return errno;
	rmdir(path);
	return 0;
}

/* Makes the directories above `path`; the number of those that were made. */
static int make_above(const char *path, char made[][PATH_MAX], int most)
{
	struct stat st;
	char copy[PATH_MAX];
	snprintf(copy, sizeof copy, "%s", path);
	const char *parent = dirname(copy);
	if (most == 0 || lstat(parent, &st) == 0)
		return 0;
	char own[PATH_MAX];
	snprintf(own, sizeof own, "%s", parent);
	int count = make_above(own, made, most - 1);
	if (mkdir(own, 0700) == -1)
		return count;
	strcpy(made[count], own);
	return count + 1;
}

/* Makes a file and the directories it is in, and removes what was made. */
static int make(const char *path)
{
	char made[8][PATH_MAX], real[PATH_MAX];
	int count = make_above(path, made, 8);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int error = fd == -1 ? errno : 0;
	if (!error) {
		close(fd);
		/* A link that led nowhere stays. */
		unlink(realpath(path, real) ? real : path);
	}
	while (count-- > 0)
		rmdir(made[count]);
	return error;
}

static int execute(const char *path)
{
	int pipes[2];
	if (pipe2(pipes, O_CLOEXEC) == -1)
		return errno;
	pid_t child = fork();
	if (child == 0) {
		execl(path, path, (char *)NULL);
		int error = errno;
		_exit(write(pipes[1], &error, sizeof error) != sizeof error);
	}
	close(pipes[1]);
	int error = 0;
	if (read(pipes[0], &error, sizeof error) != sizeof error)
		error = 0;
	close(pipes[0]);
	waitpid(child, NULL, 0);
	return error;
}

static int attempt_one(const char *kind, const char *path)
{
	struct stat st;
	int exists = stat(path, &st) == 0;
	if (!strcmp(kind, "exec"))
		return execute(path);
	if (exists && S_ISSOCK(st.st_mode))
		return connect_to(path);
	if (!strcmp(kind, "read"))
		return open_it(path, O_RDONLY, exists && S_ISDIR(st.st_mode));
	if (exists && S_ISDIR(st.st_mode))
		return make_in(path);
	return exists ? open_it(path, O_WRONLY, 0) : make(path);
}

static int answers(char **args)
{
	char line[PATH_MAX + 8];
	(void)args;
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		char *path = strchr(line, ' ');
		if (!path)
			exit(2);
		*path++ = '\0';
		int error = attempt_one(line, path);
		puts(error ? errno_name(error) : "ok");
		fflush(stdout);
	}
	return REPORTED;
}

const struct entry answer_attempts[] = {
	{ "answers", 0, answers },
	{ 0 },
};
