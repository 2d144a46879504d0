/*
 * The probe: one program that attempts ONE thing, named by its first argument, and prints `ok` or the name of
 * the errno it got (`EPERM`). It exits 0 or 1 accordingly, and 2 when it was called wrongly. The enforcement
 * tests run it inside and outside the sandbox and compare. Attempts that report something else than success
 * (a list, a number) print that instead.
 *
 * It is C, not Rust, because the attempts should be the plain system call and nothing around it, and because
 * it has to start in a sandbox that shows little more than the C library.
 *
 *   cc -O1 -pthread -o probe probe/[a-z]*.c     (all but foreign.c, which is a program of its own)
 */
#include "probe.h"

#include <sched.h>
#include <sys/wait.h>

static const struct entry *const tables[] = {
	file_attempts, descriptor_attempts, mount_attempts, process_attempts, syscall_attempts, unix_attempts,
	network_attempts, talk_attempts, ipc_attempts, limit_attempts, terminal_attempts, host_helpers,
	answer_attempts, refuse_attempts,
};

static int usage(void)
{
	fprintf(stderr, "usage: probe ATTEMPT [ARGUMENT...]\nattempts:\n");
	for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
		for (const struct entry *e = tables[t]; e->name; e++)
			fprintf(stderr, "  %s (%d)\n", e->name, e->args);
	return 2;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage();
	for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
		for (const struct entry *e = tables[t]; e->name; e++) {
			if (strcmp(e->name, argv[1]) != 0)
				continue;
			if (argc - 2 < e->args) {
				fprintf(stderr, "probe: `%s` needs %d arguments\n", e->name, e->args);
				return 2;
			}
			int error = e->run(argv + 2);
			if (error == REPORTED) {
				fflush(stdout);
				return 0;
			}
			puts(error ? errno_name(error) : "ok");
			return error != 0;
		}
	}
	fprintf(stderr, "probe: no attempt `%s`\n", argv[1]);
	return 2;
}

void own_namespaces(int flags)
{
	if (unshare(CLONE_NEWUSER | flags) == -1 && getenv("PROBE_BARE")) {
		fprintf(stderr, "probe: no namespaces outside the sandbox: %s\n", strerror(errno));
		printf("no-namespaces\n");
		exit(1);
	}
}

long number(const char *text)
{
	char *end;
	errno = 0;
	long value = strtol(text, &end, 0);
	if (errno || end == text || *end) {
		fprintf(stderr, "probe: `%s` is not a number\n", text);
		exit(2);
	}
	return value;
}

const char *errno_name(int error)
{
	const char *name = strerrorname_np(error);
	return name ? name : "EUNKNOWN";
}

int wait_code(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			return 255;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
