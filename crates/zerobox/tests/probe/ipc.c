/* Attempts on System V and POSIX objects that live beside the file tree. */
#include "probe.h"

#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static int shm_attach(char **args)
{
	void *at = shmat((int)number(args[0]), NULL, SHM_RDONLY);
	return at == (void *)-1 ? errno : 0;
}

/* Finds a segment by its key. */
static int shm_find(char **args)
{
	return result(shmget((key_t)number(args[0]), 0, 0));
}

/* Makes, uses and removes a segment. */
static int shm_local(char **args)
{
	(void)args;
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	if (id == -1)
		return errno;
	char *at = shmat(id, NULL, 0);
	int error = at == (char *)-1 ? errno : 0;
	if (!error)
		at[0] = 'x';
	shmctl(id, IPC_RMID, NULL);
	return error;
}

static int msg_find(char **args)
{
	return result(msgget((key_t)number(args[0]), 0));
}

static int sem_find(char **args)
{
	return result(semget((key_t)number(args[0]), 0, 0));
}

static int mq_find(char **args)
{
	mqd_t queue = mq_open(args[0], O_RDONLY);
	return queue == (mqd_t)-1 ? errno : 0;
}

static int mq_local(char **args)
{
	struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 16};
	mqd_t queue = mq_open(args[0], O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	if (queue == (mqd_t)-1)
		return errno;
	return result(mq_unlink(args[0]));
}

static int mq_make(char **args)
{
	struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 16};
	return result(mq_open(args[0], O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
}

static int mq_remove(char **args)
{
	return result(mq_unlink(args[0]));
}

static int posix_shm_make(char **args)
{
	return result(shm_open(args[0], O_RDWR | O_CREAT | O_EXCL, 0600));
}

static int posix_shm_remove(char **args)
{
	return result(shm_unlink(args[0]));
}

static int posix_shm_find(char **args)
{
	return result(shm_open(args[0], O_RDONLY, 0));
}

static int posix_shm_local(char **args)
{
	int fd = shm_open(args[0], O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd == -1)
		return errno;
	return result(shm_unlink(args[0]));
}

const struct entry ipc_attempts[] = {
	{"shm-attach", 1, shm_attach},
	{"shm-find", 1, shm_find},
	{"shm-local", 0, shm_local},
	{"msg-find", 1, msg_find},
	{"sem-find", 1, sem_find},
	{"mq-find", 1, mq_find},
	{"mq-local", 1, mq_local},
	{"mq-make", 1, mq_make},
	{"mq-remove", 1, mq_remove},
	{"posix-shm-find", 1, posix_shm_find},
	{"posix-shm-local", 1, posix_shm_local},
	{"posix-shm-make", 1, posix_shm_make},
	{"posix-shm-remove", 1, posix_shm_remove},
	{0},
};
