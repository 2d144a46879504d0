/*
 * Work on files that bench/explain measures: many calls that all succeed.
 *
 *   fileload opens COUNT     opens and closes its own program
 *   fileload creates COUNT   makes and removes files in the current directory
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
    char path[64];
    if (count != 3) return 2;
    int creates = !strcmp(arguments[1], "creates"), left = atoi(arguments[2]);
    for (; left > 0; left--) {
        snprintf(path, sizeof path, "file-%d", left);
        int fd = creates ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)
                         : open(arguments[0], O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            perror(arguments[0]);
            return 1;
        }
        close(fd);
        if (creates && unlink(path)) return 1;
    }
    return 0;
}
