/* Attempts on files by name and by handle. */
#include "probe.h"

#include <dirent.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/xattr.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE (1 << 1)
#endif

/* Closes what was opened; the open is what is judged. */
static int opened(int fd)
{
	if (fd == -1)
		return errno;
	close(fd);
	return 0;
}

static int read_file(char **args)
{
	char byte;
	int fd = open(args[0], O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return errno;
	return result(read(fd, &byte, 1));
}

/* Opens the directory args[0] first and reads args[1] relative to that handle. */
static int read_at(char **args)
{
	int dir = open(args[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir == -1)
		return errno;
	return opened(openat(dir, args[1], O_RDONLY | O_CLOEXEC));
}

static int stat_file(char **args)
{
	struct stat st;
	return result(lstat(args[0], &st));
}

static int access_file(char **args)
{
	return result(access(args[0], R_OK));
}

static int list(char **args)
{
	DIR *dir = opendir(args[0]);
	if (!dir)
		return errno;
	errno = 0;
	while (readdir(dir))
		;
	return errno;
}

static int read_link(char **args)
{
	char target[4096];
	return result(readlink(args[0], target, sizeof target));
}

static int change_dir(char **args)
{
	return result(chdir(args[0]));
}

static int write_file(char **args)
{
	int fd = open(args[0], O_WRONLY | O_CLOEXEC);
	if (fd == -1)
		return errno;
	return result(write(fd, "x", 1));
}

/* Opens for writing and writes nothing: for files whose very writing does something. */
static int open_write(char **args)
{
	return opened(open(args[0], O_WRONLY | O_CLOEXEC));
}

/* Writes back what is there: for settings of the kernel. */
static int write_same(char **args)
{
	char text[4096];
	int fd = open(args[0], O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return errno;
	ssize_t n = read(fd, text, sizeof text);
	close(fd);
	if (n == -1)
		return errno;
	fd = open(args[0], O_WRONLY | O_CLOEXEC);
	if (fd == -1)
		return errno;
	return result(write(fd, text, n));
}

/* The same in a network of our own, whose settings belong to whoever made it. */
static int write_same_in_network(char **args)
{
	own_namespaces(CLONE_NEWNET);
	return write_same(args);
}

static int create(char **args)
{
	return opened(open(args[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
}

/* Creates with an exact mode, whatever the umask; set-id bits included. */
static int create_mode(char **args)
{
	umask(0);
	return opened(open(args[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)number(args[1])));
}

static int creat_mode(char **args)
{
	umask(0);
	return opened((int)syscall(SYS_creat, args[0], (mode_t)number(args[1])));
}

static int tmpfile_in(char **args)
{
	return opened(open(args[0], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

static int make_dir(char **args)
{
	return result(mkdir(args[0], 0755));
}

static int make_dir_mode(char **args)
{
	umask(0);
	return result(mkdir(args[0], (mode_t)number(args[1])));
}

static int make_fifo(char **args)
{
	return result(mkfifo(args[0], 0600));
}

/* A second /dev/null. */
static int make_device(char **args)
{
	return result(mknod(args[0], S_IFCHR | 0666, (1 << 8) | 3));
}

/* A regular file by mknod, with any mode. */
static int make_node_mode(char **args)
{
	umask(0);
	return result(mknod(args[0], S_IFREG | (mode_t)number(args[1]), 0));
}

static int remove_file(char **args)
{
	return result(unlink(args[0]));
}

static int remove_dir(char **args)
{
	return result(rmdir(args[0]));
}

static int rename_file(char **args)
{
	return result(rename(args[0], args[1]));
}

static int exchange(char **args)
{
	return result(syscall(SYS_renameat2, AT_FDCWD, args[0], AT_FDCWD, args[1], RENAME_EXCHANGE));
}

static int hard_link(char **args)
{
	return result(link(args[0], args[1]));
}

/* A hard link made from an open handle instead of a name. */
static int hard_link_handle(char **args)
{
	char path[64];
	int fd = open(args[0], O_PATH | O_CLOEXEC);
	if (fd == -1)
		return errno;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return result(linkat(AT_FDCWD, path, AT_FDCWD, args[1], AT_SYMLINK_FOLLOW));
}

static int symbolic_link(char **args)
{
	return result(symlink(args[0], args[1]));
}

static int truncate_file(char **args)
{
	return result(truncate(args[0], 0));
}

static int open_truncate(char **args)
{
	return opened(open(args[0], O_RDONLY | O_TRUNC | O_CLOEXEC));
}

static int change_mode(char **args)
{
	return result(chmod(args[0], (mode_t)number(args[1])));
}

/* chmod through a handle opened for reading. */
static int change_mode_handle(char **args)
{
	int fd = open(args[0], O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return errno;
	return result(fchmod(fd, (mode_t)number(args[1])));
}

/* The newest of the family (Linux 6.6); older filters did not know it. */
static int change_mode_2(char **args)
{
	return result(syscall(452 /* fchmodat2 */, AT_FDCWD, args[0], (mode_t)number(args[1]), 0));
}

static int change_owner(char **args)
{
	return result(chown(args[0], getuid(), getgid()));
}

static int change_owner_to(char **args)
{
	return result(chown(args[0], (uid_t)number(args[1]), (gid_t)-1));
}

static int change_times(char **args)
{
	const struct timespec times[2] = {{1, 0}, {1, 0}};
	return result(utimensat(AT_FDCWD, args[0], times, 0));
}

static int set_attribute(char **args)
{
	return result(setxattr(args[0], "user.zerobox", "x", 1, 0));
}

static int remove_attribute(char **args)
{
	return result(removexattr(args[0], "user.zerobox"));
}

static int lock_file(char **args)
{
	int fd = open(args[0], O_RDWR | O_CLOEXEC);
	if (fd == -1)
		return errno;
	return result(flock(fd, LOCK_EX | LOCK_NB));
}

static int watch(char **args)
{
	int fd = inotify_init1(IN_CLOEXEC);
	if (fd == -1)
		return errno;
	return result(inotify_add_watch(fd, args[0], IN_ALL_EVENTS));
}

static int map_write(char **args)
{
	int fd = open(args[0], O_RDWR | O_CLOEXEC);
	if (fd == -1)
		return errno;
	char *map = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return errno;
	map[0] = 'm';
	return 0;
}

static int execute(char **args)
{
	execv(args[0], args);
	return errno;
}

const struct entry file_attempts[] = {
	{"read", 1, read_file},
	{"read-at", 2, read_at},
	{"stat", 1, stat_file},
	{"access", 1, access_file},
	{"list", 1, list},
	{"readlink", 1, read_link},
	{"chdir", 1, change_dir},
	{"write", 1, write_file},
	{"open-write", 1, open_write},
	{"write-same", 1, write_same},
	{"write-same-in-network", 1, write_same_in_network},
	{"create", 1, create},
	{"create-mode", 2, create_mode},
	{"creat-mode", 2, creat_mode},
	{"tmpfile", 1, tmpfile_in},
	{"mkdir", 1, make_dir},
	{"mkdir-mode", 2, make_dir_mode},
	{"mkfifo", 1, make_fifo},
	{"mknod", 1, make_device},
	{"mknod-mode", 2, make_node_mode},
	{"unlink", 1, remove_file},
	{"rmdir", 1, remove_dir},
	{"rename", 2, rename_file},
	{"exchange", 2, exchange},
	{"link", 2, hard_link},
	{"link-handle", 2, hard_link_handle},
	{"symlink", 2, symbolic_link},
	{"truncate", 1, truncate_file},
	{"open-truncate", 1, open_truncate},
	{"chmod", 2, change_mode},
	{"fchmod", 2, change_mode_handle},
	{"fchmodat2", 2, change_mode_2},
	{"chown", 1, change_owner},
	{"chown-to", 2, change_owner_to},
	{"utimes", 1, change_times},
	{"setxattr", 1, set_attribute},
	{"removexattr", 1, remove_attribute},
	{"flock", 1, lock_file},
	{"watch", 1, watch},
	{"map-write", 1, map_write},
	{"exec", 1, execute},
	{0},
};
