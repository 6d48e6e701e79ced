/* Asks to be killed when its parent dies, then becomes the program: without a sandbox, whose own end
 * does the same.
 *
 * die_with_parent PARENT PROGRAM ARGUMENT...
 *
 * PARENT is the process that it should have as its parent: another means that it has died already.
 * The signal survives what becomes of it, since no program that is run here has set-uid.
 *
 * Rebuilt by sigil_actors/tiers/process/static_programs.py; a test compares.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define FAILED 126

int main(int count, char **arguments) {
    if (count < 3) return FAILED;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL)) return FAILED;
    if (getppid() != strtol(arguments[1], NULL, 10)) return FAILED;
    execv(arguments[2], arguments + 2);
    dprintf(2, "%s: %s\n", arguments[2], strerror(errno));
    return FAILED;
}
