/* Counts the calls that change files below FAIL_BELOW and lets the FAIL_AT-th one of them kill the process
 * (FAIL_HOW=kill) or fail with EIO (FAIL_HOW=error). FAIL_HOW=count prints their number at the end, and how often a
 * database's log was synced whole and its data only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_ulong calls, whole_syncs, data_syncs;

static int is_below(const char *path) {
    const char *below = getenv("FAIL_BELOW");
    return below && strncmp(path, below, strlen(below)) == 0;
}

/* Its path, or none. */
static const char *path_of(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

static int is_ours(int fd) {
    char path[PATH_MAX];
    return is_below(path_of(fd, path));
}

/* Counts a sync of a database's log. */
static int counted(int fd, atomic_ulong *syncs) {
    char path[PATH_MAX];
    size_t length = strlen(path_of(fd, path));
    if (length > 4 && strcmp(path + length - 4, "-wal") == 0) atomic_fetch_add(syncs, 1);
    return is_below(path);
}

/* Whether this call is to fail. */
static int fails(int ours) {
    const char *how = getenv("FAIL_HOW"), *at = getenv("FAIL_AT");
    if (!ours || !how || !at) return 0;
    unsigned long call = atomic_fetch_add(&calls, 1) + 1;
    if (strcmp(how, "count") == 0 || call != strtoul(at, NULL, 10)) return 0;
    if (strcmp(how, "kill") == 0) kill(getpid(), SIGKILL);
    errno = EIO;
    return 1;
}

__attribute__((destructor)) static void report(void) {
    const char *how = getenv("FAIL_HOW");
    if (how && strcmp(how, "count") == 0) {
        fprintf(stderr, "calls: %lu\n", atomic_load(&calls));
        fprintf(stderr, "syncs of a log: %lu whole, %lu data\n", atomic_load(&whole_syncs), atomic_load(&data_syncs));
    }
}

#define REPLACE(result, name, parameters, arguments, ours)                       \
    result name parameters {                                                     \
        static result(*real) parameters;                                         \
        if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);         \
        int before = errno;                                                      \
        if (fails(ours)) return -1;                                              \
        errno = before;                                                          \
        return real arguments;                                                   \
    }

REPLACE(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size), is_ours(fd))
REPLACE(ssize_t, writev, (int fd, const struct iovec *from, int n), (fd, from, n), is_ours(fd))
REPLACE(ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at), is_ours(fd))
REPLACE(ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at), is_ours(fd))
REPLACE(ssize_t, pwritev, (int fd, const struct iovec *from, int n, off_t at), (fd, from, n, at), is_ours(fd))
REPLACE(int, fsync, (int fd), (fd), counted(fd, &whole_syncs))
REPLACE(int, fdatasync, (int fd), (fd), counted(fd, &data_syncs))
REPLACE(int, ftruncate, (int fd, off_t size), (fd, size), is_ours(fd))
REPLACE(int, ftruncate64, (int fd, off64_t size), (fd, size), is_ours(fd))
REPLACE(int, rename, (const char *from, const char *to), (from, to), is_below(from))
REPLACE(int, unlink, (const char *path), (path), is_below(path))
