/* Confines itself by Landlock, then becomes the plugin: a second layer inside the sandbox.
 *
 * confine ABI MODE=PATH... -- PROGRAM ARGUMENT...
 *
 * MODE is `list` (read a folder's names), `read` (and run), `write` (everything), or `device` (read and
 * write what is there). What no PATH covers can't be opened, whatever is mounted there; from version 6 on, signals and abstract
 * sockets end at the plugin's own processes too. A path that isn't there is passed over: nothing can
 * be opened at it. Anything else that goes wrong ends it with 126, and the plugin isn't started.
 *
 * Rebuilt by sigil_actors/tiers/process/static_programs.py; a test compares.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FAILED 126

/* From linux/landlock.h, which older headers lack. */
enum {
    CREATE_RULESET = 444,
    ADD_RULE = 445,
    RESTRICT_SELF = 446,
    RULE_PATH_BENEATH = 1,
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REFER = 1 << 13,    /* from version 2 */
    TRUNCATE = 1 << 14, /* 3 */
    IOCTL_DEV = 1 << 15 /* 5 */
};

struct ruleset {
    uint64_t files;
    uint64_t network;
    uint64_t scoped;
};

struct path_beneath {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

static void fail(const char *what) {
    dprintf(2, "confine: %s: %s\n", what, strerror(errno));
    _exit(FAILED);
}

static uint64_t known_to(long version) {
    uint64_t all = (1 << 13) - 1;
    if (version >= 2) all |= REFER;
    if (version >= 3) all |= TRUNCATE;
    if (version >= 5) all |= IOCTL_DEV;
    return all;
}

/* What makes sense for a file that is no folder. */
static const uint64_t OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

static uint64_t rights(const char *mode, size_t length, uint64_t all) {
    if (length == 4 && !strncmp(mode, "list", 4)) return READ_DIR;
    if (length == 4 && !strncmp(mode, "read", 4)) return EXECUTE | READ_FILE | READ_DIR;
    if (length == 5 && !strncmp(mode, "write", 5)) return all;
    if (length == 6 && !strncmp(mode, "device", 6))
        return all & (READ_FILE | WRITE_FILE | READ_DIR | TRUNCATE | IOCTL_DEV);
    errno = EINVAL;
    fail(mode);
    return 0;
}

static void allow(int ruleset, const char *rule, uint64_t all) {
    const char *path = strchr(rule, '=');
    if (!path) {
        errno = EINVAL;
        fail(rule);
    }
    struct path_beneath allowed = {.allowed = rights(rule, (size_t)(path - rule), all)};
    struct stat found;
    path++;
    allowed.parent = open(path, O_PATH | O_CLOEXEC);
    if (allowed.parent < 0) {
        if (errno == ENOENT) return;
        fail(path);
    }
    if (fstat(allowed.parent, &found)) fail(path);
    if (!S_ISDIR(found.st_mode)) allowed.allowed &= OF_A_FILE;
    if (syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, &allowed, 0)) fail(path);
    close(allowed.parent);
}

int main(int count, char **arguments) {
    int at = 2;
    if (count < 4) {
        errno = EINVAL;
        fail("ABI MODE=PATH... -- PROGRAM");
    }
    long version = strtol(arguments[1], NULL, 10);
    uint64_t all = known_to(version);
    struct ruleset handled = {.files = all};
    if (version >= 6) handled.scoped = 3; /* abstract sockets, signals */
    /* An older kernel takes an older, shorter structure. */
    size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
    int ruleset = (int)syscall(CREATE_RULESET, &handled, size, 0);
    if (ruleset < 0) fail("no rules can be made");
    for (; at < count && strcmp(arguments[at], "--"); at++) allow(ruleset, arguments[at], all);
    if (at + 1 >= count) {
        errno = EINVAL;
        fail("there is no program");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
    if (syscall(RESTRICT_SELF, ruleset, 0)) fail("the rules weren't taken");
    close(ruleset);
    execv(arguments[at + 1], arguments + at + 1);
    fail(arguments[at + 1]);
    return FAILED;
}
