/* Attempts to use more than was given. */
#include "probe.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>

/* Forks until args[0] children live at once; all are gone afterwards. */
static int fork_bomb(char **args)
{
	long most = number(args[0]), made = 0;
	int error = 0;
	pid_t *children = calloc((size_t)most, sizeof *children);
	for (; made < most; made++) {
		children[made] = fork();
		if (children[made] == 0) {
			pause();
			_exit(0);
		}
		if (children[made] == -1) {
			error = errno;
			break;
		}
	}
	for (long i = 0; i < made; i++)
		kill(children[i], SIGKILL);
	for (long i = 0; i < made; i++)
		wait_code(children[i]);
	fprintf(stderr, "%ld\n", made);
	return error;
}

/* Takes args[0] bytes and touches every page. */
static int mem_bomb(char **args)
{
	size_t size = (size_t)number(args[0]);
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return errno;
	for (size_t at = 0; at < size; at += 4096)
		map[at] = 1;
	return 0;
}

/* args[0] processes that each hold args[1] bytes at the same time; ENOMEM if any could not. */
static int mem_bomb_many(char **args)
{
	int error = 0;
	int ready[2];
	long count = number(args[0]);
	pid_t children[64];
	if (count > 64 || pipe(ready) == -1)
		return EINVAL;
	for (long i = 0; i < count; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			char answer = (char)mem_bomb(args + 1);
			if (write(ready[1], &answer, 1) != 1)
				_exit(1);
			close(ready[1]);
			pause();
			_exit(0);
		}
		if (children[i] == -1)
			return errno;
	}
	close(ready[1]);
	for (long i = 0; i < count; i++) {
		char answer;
		if (read(ready[0], &answer, 1) != 1)
			error = ENOMEM; /* the child was killed before it could answer */
		else if (answer)
			error = answer;
	}
	for (long i = 0; i < count; i++)
		kill(children[i], SIGKILL);
	for (long i = 0; i < count; i++)
		wait_code(children[i]);
	return error;
}

static void *touched(size_t size, int flags)
{
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
	for (size_t at = 0; map != MAP_FAILED && at < size; at += 4096)
		map[at] = 1;
	return map;
}

static void *touch_and_stay(void *size)
{
	touched(*(size_t *)size, MAP_PRIVATE);
	for (;;)
		pause();
}

/* Takes `size` bytes in the way `kind`, so that they stay taken until the process ends. */
static int take(const char *kind, size_t size)
{
	static size_t of_thread;
	pthread_t thread;
	if (strcmp(kind, "own") == 0)
		return touched(size, MAP_PRIVATE) == MAP_FAILED ? errno : 0;
	if (strcmp(kind, "mapped") == 0)
		return touched(size, MAP_SHARED) == MAP_FAILED ? errno : 0;
	if (strcmp(kind, "leaderless") == 0) {
		of_thread = size;
		return pthread_create(&thread, NULL, touch_and_stay, &of_thread);
	}
	if (strcmp(kind, "segment") == 0) {
		int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
		char *at = id == -1 ? (char *)-1 : shmat(id, NULL, 0);
		if (at == (char *)-1)
			return errno;
		memset(at, 1, size);
		shmdt(at);
		usleep(1000000);
		return result(shmctl(id, IPC_RMID, NULL));
	}
	/* A file in memory that nobody maps. */
	static char block[1 << 16];
	int fd = memfd_create("hidden", MFD_CLOEXEC);
	for (size_t done = 0; fd != -1 && done < size; done += sizeof block)
		if (write(fd, block, sizeof block) == -1)
			return errno;
	return fd == -1 ? errno : 0;
}

/*
 * args[1] processes take args[2] bytes each in the way args[0] and hold them for a second. With `copied` the first
 * process takes them once, and the others have the same pages.
 */
static int hold(char **args)
{
	long count = number(args[1]);
	size_t size = (size_t)number(args[2]);
	int error = 0, copied = strcmp(args[0], "copied") == 0;
	pid_t children[64];
	if (count > 64 || (copied && (error = take("own", size))))
		return error ? error : EINVAL;
	for (long i = 0; i < count; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			int failed = copied ? 0 : take(args[0], size);
			if (failed)
				_exit(failed);
			if (strcmp(args[0], "leaderless") == 0)
				syscall(SYS_exit, 0);
			usleep(1000000);
			_exit(0);
		}
		if (children[i] == -1)
			return errno;
	}
	usleep(1500000);
	for (long i = 0; i < count; i++) {
		kill(children[i], SIGKILL);
		int code = wait_code(children[i]);
		error = code && code != 137 ? code : error;
	}
	return error;
}

/* Writes args[1] bytes to the file args[0] and removes it. */
static int fill(char **args)
{
	static char block[1 << 16];
	int error = 0;
	long left = number(args[1]);
	int fd = open(args[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1)
		return errno;
	signal(SIGXFSZ, SIG_IGN);
	while (left > 0) {
		ssize_t n = write(fd, block, left < (long)sizeof block ? (size_t)left : sizeof block);
		if (n <= 0) {
			error = n ? errno : EIO;
			break;
		}
		left -= n;
	}
	unlink(args[0]);
	return error;
}

/* Creates args[1] empty files in the folder args[0]: a bound on bytes alone is no bound. */
static int fill_inodes(char **args)
{
	char path[4096];
	for (long i = number(args[1]); i > 0; i--) {
		snprintf(path, sizeof path, "%s/%ld", args[0], i);
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd == -1)
			return errno;
		close(fd);
	}
	return 0;
}

static int open_many(char **args)
{
	for (long i = number(args[0]); i > 0; i--)
		if (open("/dev/null", O_RDONLY | O_CLOEXEC) == -1)
			return errno;
	return 0;
}

/* Uses args[0] milliseconds of processor time and prints how many milliseconds passed meanwhile. */
static int burn(char **args)
{
	struct timespec start, now, used;
	long want = number(args[0]);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < want);
	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%ld\n", (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000);
	return REPORTED;
}

const struct entry limit_attempts[] = {
	{"fork-bomb", 1, fork_bomb},
	{"mem-bomb", 1, mem_bomb},
	{"mem-bomb-many", 2, mem_bomb_many},
	{"hold", 3, hold},
	{"fill", 2, fill},
	{"fill-inodes", 2, fill_inodes},
	{"open-many", 1, open_many},
	{"burn", 1, burn},
	{0},
};
