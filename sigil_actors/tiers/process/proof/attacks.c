/* A small set of attacks, run inside a plugin's own sandbox before the plugin is.
 *
 * A static program, since a sandbox need not show an interpreter. It takes what to attack as NAME=VALUE
 * arguments, and writes a line `NAME TAB held|through|skipped TAB what happened` for each attack. The last
 * one takes memory until it is ended, so that its line says `started` before.
 *
 * Rebuilt by sigil_actors/tiers/process/static_programs.py; a test compares.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S 3          /* a refusal answers at once; silence is one too */
#define MOST_PROCESSES 1024   /* a wider bound costs more to reach than it is worth */
#define MOST_MEMORY (1L << 30)

static int count;
static char **arguments;

static const char *fact(const char *name) {
    size_t length = strlen(name);
    for (int i = 1; i < count; i++)
        if (!strncmp(arguments[i], name, length) && arguments[i][length] == '=')
            return arguments[i] + length + 1;
    return "";
}

static long number(const char *name) { return strtol(fact(name), NULL, 10); }

static void tell(const char *name, const char *result, const char *what) {
    dprintf(1, "%s\t%s\t%s\n", name, result, what);
}

/* An attack that got a result of zero or more is through; otherwise errno says what stood in the way. */
static void judge(const char *name, long result) {
    int error = errno;
    tell(name, result >= 0 ? "through" : "held", result >= 0 ? "it was done" : strerror(error));
}

/* Nonsense that does no harm: an answer about the arguments means that the kernel looked at them. */
static void refused(const char *name, long result) {
    int error = errno;
    int through = result >= 0 || (error != EPERM && error != ENOSYS && error != EACCES);
    tell(name, through ? "through" : "held", result >= 0 ? "it was done" : strerror(error));
}

static void reach_the_kernel(const char *name, long call) {
    refused(name, syscall(call, -1L, 0L, 0L, 0L, 0L, 0L));
}

static void open_file(const char *name, const char *path, int flags) {
    if (!*path) {
        tell(name, "skipped", "nothing to try it on");
        return;
    }
    int descriptor = open(path, flags | O_CLOEXEC, 0600);
    judge(name, descriptor);
    if (descriptor >= 0) {
        close(descriptor);
        if (flags & O_CREAT) unlink(path);
    }
}

static int connected(int family, const struct sockaddr *address, socklen_t length) {
    int descriptor = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    if (descriptor < 0) return -1;
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(descriptor, address, length) < 0) {
        int error = errno;
        close(descriptor);
        errno = error;
        return -1;
    }
    return descriptor;
}

static int loopback(long port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connected(AF_INET, (struct sockaddr *)&address, sizeof address);
}

static void reach_the_host(void) {
    int descriptor = loopback(number("host-port"));
    judge("network: the host's loopback", descriptor);
    if (descriptor >= 0) close(descriptor);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = fact("abstract-socket");
    size_t length = strlen(name);
    if (length + 1 > sizeof address.sun_path) length = sizeof address.sun_path - 1;
    memcpy(address.sun_path + 1, name, length);
    descriptor = connected(
        AF_UNIX, (struct sockaddr *)&address,
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length));
    judge("network: an abstract socket of the host", descriptor);
    if (descriptor >= 0) close(descriptor);
}

/* The plugin's own proxy has to refuse what its manifest doesn't name. */
static void ask_proxy(const char *name, const char *target) {
    char text[512];
    if (!number("proxy-port")) {
        tell(name, "skipped", "the plugin has no network at all");
        return;
    }
    int descriptor = loopback(number("proxy-port"));
    if (descriptor < 0) {
        tell(name, "held", "the proxy isn't there");
        return;
    }
    int length = snprintf(text, sizeof text, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target);
    ssize_t got = send(descriptor, text, (size_t)length, MSG_NOSIGNAL);
    if (got >= 0) got = recv(descriptor, text, sizeof text - 1, 0);
    close(descriptor);
    if (got <= 0) {
        tell(name, "held", "cut");
        return;
    }
    text[got] = 0;
    text[strcspn(text, "\r\n")] = 0;
    tell(name, strstr(text, " 200") ? "through" : "held", text);
}

static void share_a_namespace(const char *kind) {
    char path[64], name[64], mine[128];
    snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
    snprintf(name, sizeof name, "namespaces: the host's own %s", kind);
    ssize_t length = readlink(path, mine, sizeof mine - 1);
    if (length < 0) {
        tell(name, "held", strerror(errno));
        return;
    }
    mine[length] = 0;
    char wanted[16];
    snprintf(wanted, sizeof wanted, "ns-%s", kind);
    tell(name, strcmp(mine, fact(wanted)) ? "held" : "through", mine);
}

static void make_namespaces(void) {
    judge("namespaces: unshare the user", unshare(CLONE_NEWUSER));
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (!child) _exit(0);
    judge("namespaces: clone into a new user", child);
    if (child > 0) waitpid((pid_t)child, NULL, 0);
    uint64_t wanted[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0};
    child = syscall(435 /* clone3 */, wanted, sizeof wanted);
    if (!child) _exit(0);
    judge("namespaces: clone3 into a new user", child);
    if (child > 0) waitpid((pid_t)child, NULL, 0);
    /* On nothing that there is: where the sandbox doesn't hold, the machine mustn't suffer. */
    refused("files: mount", mount("none", "/sigil-proof", "tmpfs", 0, NULL));
    refused("files: unmount", umount2("/sigil-proof", 0));
}

static void look_at_itself(void) {
    char line[256];
    pid_t child = fork(); /* a process that is traced stops at its next signal */
    if (!child) _exit(syscall(SYS_ptrace, 0L, 0L, 0L, 0L) ? errno : 0);
    int ended = 0;
    if (child > 0) waitpid(child, &ended, 0);
    errno = WEXITSTATUS(ended);
    judge("system calls: be traced", child > 0 && ended && WIFEXITED(ended) ? -1 : 0);
    reach_the_kernel("system calls: bpf", SYS_bpf);
    reach_the_kernel("system calls: io_uring", SYS_io_uring_setup);
    reach_the_kernel("system calls: keys", SYS_keyctl);
    reach_the_kernel("system calls: performance counters", SYS_perf_event_open);

    int kept = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    tell("identity: new privileges", kept == 1 ? "held" : "through", "no_new_privs");
    FILE *status = fopen("/proc/self/status", "re");
    int known = 0;
    while (status && fgets(line, sizeof line, status)) {
        unsigned long long rights;
        if (sscanf(line, "CapEff: %llx", &rights) == 1) {
            line[strcspn(line, "\n")] = 0;
            tell("identity: capabilities", rights ? "through" : "held", line);
            known = 1;
        }
    }
    if (status) fclose(status);
    if (!known) tell("identity: capabilities", "through", "they can't be read, so nobody knows");

    DIR *open_ones = opendir("/proc/self/fd");
    int leaked = -1;
    for (struct dirent *entry; open_ones && (entry = readdir(open_ones));) {
        int descriptor = atoi(entry->d_name);
        if (descriptor > 2 && descriptor != dirfd(open_ones)) leaked = descriptor;
    }
    if (open_ones) closedir(open_ones);
    snprintf(line, sizeof line, "descriptor %d", leaked);
    tell("identity: descriptors of the host", leaked >= 0 || !open_ones ? "through" : "held", line);

    struct rlimit files;
    int result = getrlimit(RLIMIT_NOFILE, &files);
    snprintf(line, sizeof line, "%llu at most", (unsigned long long)files.rlim_max);
    int bounded = !result && files.rlim_max <= (rlim_t)number("open-files");
    tell("limits: open files", bounded ? "held" : "through", line);
}

static void signal_the_host(void) {
    /* A small number may be a process of the sandbox's own. */
    if (number("host-pid") <= 64) {
        tell("processes: signal one of the host's", "skipped", "its number is one of the sandbox's too");
        return;
    }
    judge("processes: signal one of the host's", kill((pid_t)number("host-pid"), 0));
}

static void start_more_processes(void) {
    long bound = number("pids"), started = 0;
    if (bound <= 0 || bound > MOST_PROCESSES) {
        tell("limits: processes", "skipped", bound > 0 ? "the bound is too wide to be tried" : "nothing here bounds it");
        return;
    }
    pid_t *children = calloc((size_t)bound + 1, sizeof *children);
    if (!children) {
        tell("limits: processes", "skipped", "no memory for the list of them");
        return;
    }
    while (started <= bound) {
        pid_t child = fork();
        if (!child) {
            pause();
            _exit(0);
        }
        if (child < 0) break;
        children[started++] = child;
    }
    for (long i = 0; i < started; i++) kill(children[i], SIGKILL);
    for (long i = 0; i < started; i++) waitpid(children[i], NULL, 0);
    free(children);
    char what[64];
    snprintf(what, sizeof what, "%ld children", started);
    tell("limits: processes", started > bound ? "through" : "held", what);
}

static void take_memory(void) {
    long bound = number("memory");
    if (bound <= 0 || bound > MOST_MEMORY) {
        tell("limits: memory", "skipped", bound > 0 ? "the bound is too wide to be tried" : "nothing here bounds it");
        return;
    }
    tell("limits: memory", "started", "");
    /* Shared, which no limit of a single process counts; a quarter more than there may be. */
    long wanted = bound + bound / 4, step = 1 << 20;
    char *memory = mmap(NULL, (size_t)wanted, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        tell("limits: memory", "held", strerror(errno));
        return;
    }
    for (long at = 0; at < wanted; at += step)
        for (long page = at; page < at + step && page < wanted; page += 4096) memory[page] = 1;
    tell("limits: memory", "through", "a quarter more than the bound");
}

int main(int argc, char **argv) {
    count = argc;
    arguments = argv;
    signal(SIGPIPE, SIG_IGN);
    open_file("files: read one of the host's", fact("host-file"), O_RDONLY);
    open_file("files: list a folder of the host's", fact("host-folder"), O_RDONLY | O_DIRECTORY);
    open_file("files: write beside the plugin's code", fact("plugin-file"), O_WRONLY | O_CREAT | O_EXCL);
    open_file("files: write among the programs", "/usr/sigil-proof", O_WRONLY | O_CREAT | O_EXCL);
    open_file("files: write into the root", "/sigil-proof", O_WRONLY | O_CREAT | O_EXCL);
    open_file("files: write into /dev", "/dev/sigil-proof", O_WRONLY | O_CREAT | O_EXCL);
    reach_the_host();
    ask_proxy("network: a denied name by the proxy", "sigil-proof.invalid:443");
    ask_proxy("network: the cloud's metadata by the proxy", "169.254.169.254:80");
    const char *kinds[] = {"user", "mnt", "pid", "net", "ipc", "uts"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) share_a_namespace(kinds[i]);
    make_namespaces();
    look_at_itself();
    signal_the_host();
    start_more_processes();
    take_memory();
    tell("end", "held", "");
    return 0;
}
