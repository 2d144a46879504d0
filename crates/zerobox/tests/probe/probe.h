/* What every part of the probe shares: see probe.c. */
#ifndef PROBE_H
#define PROBE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* The attempt has printed its own answer; the probe prints no verdict. */
#define REPORTED (-1)

/* Tries one thing. args[0] is the first argument after the name. Returns 0, an errno, or REPORTED. */
typedef int attempt(char **args);

struct entry {
	const char *name;
	int args; /* how many arguments it needs at least */
	attempt *run;
};

/* Each table ends with a nameless entry. */
extern const struct entry file_attempts[];
extern const struct entry descriptor_attempts[];
extern const struct entry mount_attempts[];
extern const struct entry process_attempts[];
extern const struct entry syscall_attempts[];
extern const struct entry unix_attempts[];
extern const struct entry network_attempts[];
extern const struct entry talk_attempts[];
extern const struct entry ipc_attempts[];
extern const struct entry limit_attempts[];
extern const struct entry terminal_attempts[];
extern const struct entry host_helpers[];
extern const struct entry answer_attempts[];
extern const struct entry refuse_attempts[];

/* 0 if a system call's result is not -1, its errno otherwise. */
static inline int result(long r)
{
	return r == -1 ? errno : 0;
}

/*
 * Enters namespaces of our own, so that an attempt which needs privileges over a namespace can succeed
 * without the sandbox and without touching the host. Inside the sandbox this step fails and the attempt goes
 * on: it is the attempt that is judged. Without the sandbox (PROBE_BARE is set) a failure ends the probe.
 */
void own_namespaces(int flags);

/* A number argument, decimal or 0x or leading-0 octal. */
long number(const char *text);

/* The name of an errno, for instance EPERM. */
const char *errno_name(int error);

/* Waits for `pid` and gives the exit code as a shell does: 128 + n for a signal. */
int wait_code(pid_t pid);

#endif
