/* Attempts on the terminal this process runs on. */
#include "probe.h"

#include <pty.h>
#include <sys/ioctl.h>

/*
 * The kernel looks at the low 32 bits of a request; a filter that compares all 64 lets the same request
 * through with anything above them (snapd's CVE-2019-7303).
 */
#define HIGH_BITS 0x7a65726f00000000UL

static int request(unsigned long bits, unsigned long number, char *argument)
{
	return result(syscall(SYS_ioctl, 0, bits | number, argument));
}

static int type_into(char **args)
{
	(void)args;
	return request(0, TIOCSTI, "#");
}

static int type_into_high(char **args)
{
	(void)args;
	return request(HIGH_BITS, TIOCSTI, "#");
}

/* Selection and paste on a virtual console. Elsewhere the kernel says ENOTTY. */
static int console_paste(char **args)
{
	char paste[2] = {3, 0};
	(void)args;
	return request(0, TIOCLINUX, paste);
}

static int console_paste_high(char **args)
{
	char paste[2] = {3, 0};
	(void)args;
	return request(HIGH_BITS, TIOCLINUX, paste);
}

static int is_terminal(char **args)
{
	return isatty((int)number(args[0])) ? 0 : errno;
}

static int open_terminal(char **args)
{
	(void)args;
	return result(open("/dev/tty", O_RDWR | O_CLOEXEC));
}

static int window_size(char **args)
{
	struct winsize size;
	(void)args;
	if (ioctl(0, TIOCGWINSZ, &size) == -1)
		return errno;
	printf("%dx%d\n", size.ws_row, size.ws_col);
	return REPORTED;
}

/* A terminal of our own, as tmux and script make one. */
static int open_pty(char **args)
{
	int master, slave;
	(void)args;
	return result(openpty(&master, &slave, NULL, NULL, NULL));
}

const struct entry terminal_attempts[] = {
	{"tiocsti", 0, type_into},
	{"tiocsti-high", 0, type_into_high},
	{"tioclinux", 0, console_paste},
	{"tioclinux-high", 0, console_paste_high},
	{"isatty", 1, is_terminal},
	{"open-tty", 0, open_terminal},
	{"window-size", 0, window_size},
	{"openpty", 0, open_pty},
	{0},
};
