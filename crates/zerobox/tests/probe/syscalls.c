/* Attempts at system calls that a filter has to know. Each is made so that it succeeds without a sandbox. */
#include "probe.h"

#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/fanotify.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/timex.h>
#include <time.h>

#define NR_IO_URING_SETUP 425
#define NR_OPENAT2 437
#define X32_BIT 0x40000000

static int io_uring(char **args)
{
	char params[120] = {0};
	(void)args;
	return result(syscall(NR_IO_URING_SETUP, 1, params));
}

static int keyctl_read(char **args)
{
	(void)args;
	return result(syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3 /* session keyring */, 1));
}

static int add_key(char **args)
{
	(void)args;
	return result(syscall(SYS_add_key, "user", "zerobox-test", "x", 1, -2 /* process keyring */));
}

/* Without a sandbox it finds no such key, which is an answer all the same. */
static int request_key(char **args)
{
	(void)args;
	return result(syscall(SYS_request_key, "user", "zerobox-test-none", NULL, 0));
}

static int bpf_map(char **args)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
	(void)args;
	return result(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static int perf(char **args)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof attr,
		.config = PERF_COUNT_SW_TASK_CLOCK,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};
	(void)args;
	return result(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static int userfaultfd(char **args)
{
	(void)args;
	return result(syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */));
}

/* getpid by its x32 number. */
static int x32(char **args)
{
	(void)args;
#ifdef __x86_64__
	return result(syscall(X32_BIT | SYS_getpid));
#else
	return ENOSYS;
#endif
}

/* ptrace by its x32 number: what a deny list that forgets the bit lets through. */
static int x32_ptrace(char **args)
{
	(void)args;
#ifdef __x86_64__
	return result(syscall(X32_BIT | 521, 0, 0, 0, 0));
#else
	return ENOSYS;
#endif
}

/* getpid by the 32-bit gate, from a 64-bit program. */
static int int80(char **args)
{
	(void)args;
#if defined __x86_64__ || defined __i386__
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	return r < 0 ? (int)-r : 0;
#else
	return ENOSYS;
#endif
}

/* A number from the future. */
static int unknown(char **args)
{
	return result(syscall(number(args[0])));
}

static int openat2(char **args)
{
	uint64_t how[3] = {O_RDONLY | O_CLOEXEC, 0, 0};
	return result(syscall(NR_OPENAT2, AT_FDCWD, args[0], how, sizeof how));
}

/* Any call by number with arguments that the kernel refuses: for calls that only the real root may make. */
static int call_number(char **args)
{
	return result(syscall(number(args[0]), -1L, -1L, -1L, -1L, -1L));
}

static int fanotify(char **args)
{
	(void)args;
	return result(fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC, O_RDONLY));
}

static int set_clock(char **args)
{
	struct timespec now;
	(void)args;
	clock_gettime(CLOCK_REALTIME, &now);
	return result(clock_settime(CLOCK_REALTIME, &now));
}

static int adjust_clock(char **args)
{
	struct timex timex = {.modes = ADJ_OFFSET_SINGLESHOT};
	(void)args;
	return result(adjtimex(&timex));
}

static int kernel_log(char **args)
{
	char text[64];
	(void)args;
	return result(syscall(SYS_syslog, 3 /* READ_ALL */, text, sizeof text));
}

/* Lays a second filter, as Chromium and its kind do: must go on working. */
static int own_filter(char **args)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &allow};
	(void)args;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return result(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

/* A supervisor of its own: with the flag to continue, it could be used to unsay another one's answer. */
static int own_listener(char **args)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &allow};
	(void)args;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

static int no_randomize(char **args)
{
	(void)args;
	return result(personality(ADDR_NO_RANDOMIZE));
}

const struct entry syscall_attempts[] = {
	{"io-uring", 0, io_uring},
	{"keyctl", 0, keyctl_read},
	{"add-key", 0, add_key},
	{"request-key", 0, request_key},
	{"bpf", 0, bpf_map},
	{"perf", 0, perf},
	{"userfaultfd", 0, userfaultfd},
	{"x32", 0, x32},
	{"x32-ptrace", 0, x32_ptrace},
	{"int80", 0, int80},
	{"unknown", 1, unknown},
	{"openat2", 1, openat2},
	{"call", 1, call_number},
	{"fanotify", 0, fanotify},
	{"clock-settime", 0, set_clock},
	{"adjtimex", 0, adjust_clock},
	{"syslog", 0, kernel_log},
	{"own-filter", 0, own_filter},
	{"own-listener", 0, own_listener},
	{"no-randomize", 0, no_randomize},
	{0},
};
