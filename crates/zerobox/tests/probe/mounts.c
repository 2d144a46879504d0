/*
 * Attempts to change what the file tree looks like. Each enters namespaces of its own first where it can, so
 * that it succeeds without the sandbox and stays without effect on the host.
 */
#include "probe.h"

#include <sched.h>
#include <sys/mount.h>

/* Calls that the C library may not wrap; the numbers are the same on every architecture. */
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_FSPICK 433
#define NR_MOUNT_SETATTR 442

static void own_mounts(void)
{
	own_namespaces(CLONE_NEWNS);
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int change_root(char **args)
{
	own_mounts();
	return result(chroot(args[0]));
}

static int mount_tmpfs(char **args)
{
	own_mounts();
	return result(mount("none", args[0], "tmpfs", 0, NULL));
}

static int mount_bind(char **args)
{
	own_mounts();
	return result(mount(args[0], args[1], NULL, MS_BIND, NULL));
}

/* Makes the mount at args[0] writable again. */
static int remount(char **args)
{
	own_mounts();
	mount(args[0], args[0], NULL, MS_BIND, NULL);
	return result(mount(NULL, args[0], NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int unmount(char **args)
{
	own_mounts();
	mount(args[0], args[0], NULL, MS_BIND, NULL);
	return result(umount2(args[0], MNT_DETACH));
}

static int pivot(char **args)
{
	own_mounts();
	mount(args[0], args[0], NULL, MS_BIND, NULL);
	if (chdir(args[0]) == -1)
		return errno;
	return result(syscall(SYS_pivot_root, ".", "."));
}

static int open_tree_clone(char **args)
{
	own_mounts();
	return result(syscall(NR_OPEN_TREE, AT_FDCWD, args[0], 1 /* OPEN_TREE_CLONE */));
}

static int move_tree(char **args)
{
	own_mounts();
	int tree = (int)syscall(NR_OPEN_TREE, AT_FDCWD, args[0], 1);
	return result(syscall(NR_MOVE_MOUNT, tree, "", AT_FDCWD, args[0], 4 /* MOVE_MOUNT_F_EMPTY_PATH */));
}

static int fs_open(char **args)
{
	(void)args;
	own_mounts();
	return result(syscall(NR_FSOPEN, "tmpfs", 0));
}

static int fs_pick(char **args)
{
	own_mounts();
	mount("none", args[0], "tmpfs", 0, NULL);
	return result(syscall(NR_FSPICK, AT_FDCWD, args[0], 0));
}

static int mount_attributes(char **args)
{
	struct {
		uint64_t set, clear, propagation, userns;
	} attributes = {.clear = 1 /* MOUNT_ATTR_RDONLY */};
	own_mounts();
	mount(args[0], args[0], NULL, MS_BIND, NULL);
	return result(syscall(NR_MOUNT_SETATTR, AT_FDCWD, args[0], 0, &attributes, sizeof attributes));
}

/* Opens a file by its handle, beside every path check. Needs a privilege that only the real root has. */
static int open_by_handle(char **args)
{
	struct {
		struct file_handle head;
		char bytes[128];
	} handle = {.head.handle_bytes = 128};
	int mount_id;
	if (name_to_handle_at(AT_FDCWD, args[0], &handle.head, &mount_id, 0) == -1)
		return errno;
	int root = open(args[0], O_RDONLY | O_CLOEXEC);
	if (root == -1)
		return errno;
	return result(open_by_handle_at(root, &handle.head, O_RDONLY | O_CLOEXEC));
}

const struct entry mount_attempts[] = {
	{"chroot", 1, change_root},
	{"mount", 1, mount_tmpfs},
	{"mount-bind", 2, mount_bind},
	{"remount", 1, remount},
	{"umount", 1, unmount},
	{"pivot-root", 1, pivot},
	{"open-tree", 1, open_tree_clone},
	{"move-mount", 1, move_tree},
	{"fsopen", 0, fs_open},
	{"fspick", 1, fs_pick},
	{"mount-setattr", 1, mount_attributes},
	{"open-by-handle", 1, open_by_handle},
	{0},
};
