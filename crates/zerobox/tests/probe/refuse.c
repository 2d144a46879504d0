/* Becomes another program under a filter of its own: a machine that lacks something. */
#include "probe.h"

#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define NR BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ARG(n) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[n]))
#define UNLESS(k, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), 0, (skip))
#define RET(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define FAIL(error) RET(SECCOMP_RET_ERRNO | (error))

/* refuse WHAT PROGRAM ARGUMENT...: `netfilter`, `userns`, `landlock`, `mounts` or `notify`. */
static int refuse(char **args)
{
	struct sock_filter netfilter[] = {
		NR, UNLESS(SYS_socket, 5), ARG(0), UNLESS(AF_NETLINK, 3), ARG(2), UNLESS(NETLINK_NETFILTER, 1),
		FAIL(EPROTONOSUPPORT), RET(SECCOMP_RET_ALLOW),
	};
	struct sock_filter userns[] = {
		NR,
		UNLESS(SYS_clone, 3), ARG(0), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 0, 4), FAIL(EPERM),
		UNLESS(SYS_unshare, 2), ARG(0), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 1, 0),
		RET(SECCOMP_RET_ALLOW), FAIL(EPERM),
	};
	struct sock_filter landlock[] = {
		NR, UNLESS(SYS_landlock_create_ruleset, 1), FAIL(ENOSYS), RET(SECCOMP_RET_ALLOW),
	};
	struct sock_filter mounts[] = {
		NR, UNLESS(SYS_mount_setattr, 1), FAIL(ENOSYS), RET(SECCOMP_RET_ALLOW),
	};
	struct sock_filter notify[] = {
		NR, UNLESS(SYS_seccomp, 3), ARG(1), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1 << 3, 0, 1), FAIL(EINVAL),
		RET(SECCOMP_RET_ALLOW),
	};
	struct {
		const char *name;
		struct sock_fprog program;
	} kinds[] = {
		{"netfilter", {sizeof netfilter / sizeof *netfilter, netfilter}},
		{"userns", {sizeof userns / sizeof *userns, userns}},
		{"landlock", {sizeof landlock / sizeof *landlock, landlock}},
		{"mounts", {sizeof mounts / sizeof *mounts, mounts}},
		{"notify", {sizeof notify / sizeof *notify, notify}},
	};
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		if (strcmp(kinds[k].name, args[0]) != 0)
			continue;
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &kinds[k].program) == -1)
			return errno;
		execv(args[1], args + 1);
		return errno;
	}
	exit(2);
}

const struct entry refuse_attempts[] = {
	{"refuse", 2, refuse},
	{0},
};
