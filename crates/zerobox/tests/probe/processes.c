/* Attempts on other processes, and on what this process is and may become. */
#include "probe.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define NR_PIDFD_SEND_SIGNAL 424
#define NR_PIDFD_OPEN 434
#define NR_CLONE3 435
#define NR_PIDFD_GETFD 438
#define NR_PROCESS_MADVISE 440

static int trace(char **args)
{
	return result(ptrace(PTRACE_SEIZE, (pid_t)number(args[0]), NULL, NULL));
}

/* A debugger and its own child: must go on working inside. */
static int trace_child(char **args)
{
	(void)args;
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(7);
	}
	int status;
	if (waitpid(child, &status, 0) == -1)
		return errno;
	if (!WIFSTOPPED(status))
		return EPROTO;
	if (ptrace(PTRACE_CONT, child, NULL, NULL) == -1)
		return errno;
	return wait_code(child) == 7 ? 0 : EPROTO;
}

static int send_signal(char **args)
{
	return result(kill((pid_t)number(args[0]), SIGCONT));
}

static int send_signal_thread(char **args)
{
	pid_t pid = (pid_t)number(args[0]);
	return result(syscall(SYS_tgkill, pid, pid, SIGCONT));
}

static int queue_signal(char **args)
{
	const union sigval value = {0};
	return result(sigqueue((pid_t)number(args[0]), SIGCONT, value));
}

static int read_memory(char **args)
{
	char bytes[16];
	struct iovec local = {bytes, sizeof bytes};
	struct iovec remote = {(void *)number(args[1]), sizeof bytes};
	return result(process_vm_readv((pid_t)number(args[0]), &local, 1, &remote, 1, 0));
}

static int write_memory(char **args)
{
	char bytes[16] = "overwritten";
	struct iovec local = {bytes, sizeof bytes};
	struct iovec remote = {(void *)number(args[1]), sizeof bytes};
	return result(process_vm_writev((pid_t)number(args[0]), &local, 1, &remote, 1, 0));
}

static int open_pidfd(char **args)
{
	return result(syscall(NR_PIDFD_OPEN, (pid_t)number(args[0]), 0));
}

/* Takes a descriptor out of another process. */
static int take_fd(char **args)
{
	int pidfd = (int)syscall(NR_PIDFD_OPEN, (pid_t)number(args[0]), 0);
	if (pidfd == -1)
		return errno;
	return result(syscall(NR_PIDFD_GETFD, pidfd, 0, 0));
}

static int compare(char **args)
{
	return result(syscall(SYS_kcmp, getpid(), (pid_t)number(args[0]), 1 /* KCMP_VM */, 0, 0));
}

static int renice(char **args)
{
	return result(setpriority(PRIO_PROCESS, (id_t)number(args[0]), 5));
}

/* Of our process group, in which the caller of the sandbox is too; to what it is. */
static int renice_group(char **args)
{
	(void)args;
	errno = 0;
	int now = getpriority(PRIO_PGRP, 0);
	return errno ? errno : result(setpriority(PRIO_PGRP, 0, now));
}

static int set_io_priority_of_group(char **args)
{
	(void)args;
	return result(syscall(SYS_ioprio_set, 2 /* process group */, 0, (2 << 13) | 4));
}

static int set_affinity(char **args)
{
	cpu_set_t set;
	if (sched_getaffinity((pid_t)number(args[0]), sizeof set, &set) == -1)
		return errno;
	return result(sched_setaffinity((pid_t)number(args[0]), sizeof set, &set));
}

static int set_limit(char **args)
{
	struct rlimit limit;
	pid_t pid = (pid_t)number(args[0]);
	if (prlimit(pid, RLIMIT_CORE, NULL, &limit) == -1)
		return errno;
	return result(prlimit(pid, RLIMIT_CORE, &limit, NULL));
}

static int set_scheduler(char **args)
{
	struct sched_param param = {0};
	return result(sched_setscheduler((pid_t)number(args[0]), SCHED_BATCH, &param));
}

static int set_io_priority(char **args)
{
	return result(syscall(SYS_ioprio_set, 1 /* process */, (int)number(args[0]), (2 << 13) | 7));
}

/* Every process that /proc shows, one a line. */
static int list_pids(char **args)
{
	(void)args;
	DIR *dir = opendir("/proc");
	if (!dir)
		return errno;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			puts(entry->d_name);
	return REPORTED;
}

static int unshare_user(char **args)
{
	(void)args;
	return result(unshare(CLONE_NEWUSER));
}

/* Any namespace flag, by number; with a user namespace first, as a program without privileges has to. */
static int unshare_flags(char **args)
{
	own_namespaces(0);
	return result(unshare((int)number(args[0])));
}

/* What came of a clone(2) whose child has nothing to do. Both sides call it. */
static int ends_at_once(pid_t child)
{
	if (child == 0)
		_exit(0);
	if (child == -1)
		return errno;
	wait_code(child);
	return 0;
}

static int clone_user(char **args)
{
	(void)args;
	pid_t child = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
	return ends_at_once(child);
}

/* The flags hide behind a pointer, which a filter cannot read. */
static int clone_3(char **args)
{
	(void)args;
	uint64_t clone_args[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0};
	pid_t child = (pid_t)syscall(NR_CLONE3, clone_args, sizeof clone_args);
	return ends_at_once(child);
}

static int enter_namespace(char **args)
{
	(void)args;
	own_namespaces(CLONE_NEWUTS);
	int fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return errno;
	return result(setns(fd, CLONE_NEWUTS));
}

static int set_hostname(char **args)
{
	(void)args;
	own_namespaces(CLONE_NEWUTS);
	return result(sethostname("zerobox", 7));
}

/* Dies as a program with a bug does. */
static int dump_core(char **args)
{
	(void)args;
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
	return EPROTO;
}

/* Asks for a core limit as high as the hard limit lets it, and prints what it got. */
static int core_limit(char **args)
{
	(void)args;
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	setrlimit(RLIMIT_CORE, &limit);
	getrlimit(RLIMIT_CORE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_CORE, &limit);
	getrlimit(RLIMIT_CORE, &limit);
	printf("%lu\n", (unsigned long)limit.rlim_cur);
	return REPORTED;
}

/* The ids this process has: for set-user-id programs. */
static int show_ids(char **args)
{
	(void)args;
	printf("%d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
	return REPORTED;
}

/* Lines of /proc/PID/status. */
static int show_status(char **args)
{
	char line[512], path[64];
	snprintf(path, sizeof path, "/proc/%s/status", args[0]);
	FILE *status = fopen(path, "re");
	if (!status)
		return errno;
	while (fgets(line, sizeof line, status))
		for (char **name = args + 1; *name; name++)
			if (strncmp(line, *name, strlen(*name)) == 0 && line[strlen(*name)] == ':')
				fputs(line, stdout);
	return REPORTED;
}

static int become(char **args)
{
	return result(setuid((uid_t)number(args[0])));
}

static int dumpable(char **args)
{
	(void)args;
	printf("%d\n", prctl(PR_GET_DUMPABLE));
	return REPORTED;
}

/* Leaves `args[0]` children to init, each dead at once, and counts the zombies that stay. */
static int orphan_zombies(char **args)
{
	for (long i = number(args[0]); i > 0; i--) {
		pid_t child = fork();
		if (child == 0) {
			if (fork() == 0)
				_exit(0);
			_exit(0);
		}
		wait_code(child);
	}
	int zombies = 0;
	for (int attempt = 0; attempt < 40; attempt++) {
		zombies = 0;
		DIR *dir = opendir("/proc");
		if (!dir)
			return errno;
		for (struct dirent *entry; (entry = readdir(dir));) {
			char path[300], state;
			snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
			FILE *stat = fopen(path, "re");
			if (!stat)
				continue;
			if (fscanf(stat, "%*d (%*[^)]) %c", &state) == 1 && state == 'Z')
				zombies++;
			fclose(stat);
		}
		closedir(dir);
		if (!zombies)
			break;
		usleep(50000);
	}
	printf("%d\n", zombies);
	return REPORTED;
}

const struct entry process_attempts[] = {
	{"ptrace", 1, trace},
	{"ptrace-child", 0, trace_child},
	{"kill", 1, send_signal},
	{"tgkill", 1, send_signal_thread},
	{"sigqueue", 1, queue_signal},
	{"process-vm-readv", 2, read_memory},
	{"process-vm-writev", 2, write_memory},
	{"pidfd-open", 1, open_pidfd},
	{"pidfd-getfd", 1, take_fd},
	{"kcmp", 1, compare},
	{"setpriority", 1, renice},
	{"setpriority-group", 0, renice_group},
	{"ioprio-group", 0, set_io_priority_of_group},
	{"affinity", 1, set_affinity},
	{"prlimit", 1, set_limit},
	{"scheduler", 1, set_scheduler},
	{"ioprio", 1, set_io_priority},
	{"list-pids", 0, list_pids},
	{"unshare-user", 0, unshare_user},
	{"unshare", 1, unshare_flags},
	{"clone-user", 0, clone_user},
	{"clone3", 0, clone_3},
	{"setns", 0, enter_namespace},
	{"sethostname", 0, set_hostname},
	{"core", 0, dump_core},
	{"core-limit", 0, core_limit},
	{"ids", 0, show_ids},
	{"status", 2, show_status},
	{"setuid", 1, become},
	{"dumpable", 0, dumpable},
	{"orphan-zombies", 1, orphan_zombies},
	{0},
};
