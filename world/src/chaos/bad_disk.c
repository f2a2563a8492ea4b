/* While the file BAD_DISK_SLOW is there, every sync of a file below BAD_DISK_BELOW takes most of a second; while
 * BAD_DISK_READ_ONLY is there, nothing below it can be changed (EROFS), as when a kernel has mounted a failing disk
 * read-only under a running program. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_on(const char *name) {
    const char *path = getenv(name);
    return path && access(path, F_OK) == 0;
}

static int is_below(const char *path) {
    const char *below = getenv("BAD_DISK_BELOW");
    return below && path && strncmp(path, below, strlen(below)) == 0;
}

static int is_ours(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

/* Whether a change is refused. errno stays as it was when it is not. */
static int refused(int ours) {
    return ours && is_on("BAD_DISK_READ_ONLY");
}

#define REAL(result, name, parameters)                                    \
    static result(*real) parameters;                                      \
    if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);

#define REPLACE(result, name, parameters, arguments, ours)                \
    result name parameters {                                              \
        REAL(result, name, parameters)                                    \
        int before = errno;                                               \
        if (refused(ours)) {                                              \
            errno = EROFS;                                                \
            return -1;                                                    \
        }                                                                 \
        errno = before;                                                   \
        return real arguments;                                            \
    }

#define REPLACE_SYNC(name)                                                \
    int name(int fd) {                                                    \
        REAL(int, name, (int))                                            \
        int before = errno, ours = is_ours(fd);                           \
        if (refused(ours)) {                                              \
            errno = EROFS;                                                \
            return -1;                                                    \
        }                                                                 \
        if (ours && is_on("BAD_DISK_SLOW")) usleep(700000);               \
        errno = before;                                                   \
        return real(fd);                                                  \
    }

#define CHANGES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

#define REPLACE_OPEN(name, first, first_name, path)                       \
    int name first {                                                      \
        REAL(int, name, first)                                            \
        va_list rest;                                                     \
        va_start(rest, flags);                                            \
        mode_t mode = va_arg(rest, mode_t);                               \
        va_end(rest);                                                     \
        int before = errno;                                               \
        if ((flags & CHANGES) && refused(is_below(path))) {               \
            errno = EROFS;                                                \
            return -1;                                                    \
        }                                                                 \
        errno = before;                                                   \
        return real first_name;                                           \
    }

REPLACE(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size), is_ours(fd))
REPLACE(ssize_t, writev, (int fd, const struct iovec *from, int n), (fd, from, n), is_ours(fd))
REPLACE(ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at), is_ours(fd))
REPLACE(ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at), is_ours(fd))
REPLACE(ssize_t, pwritev, (int fd, const struct iovec *from, int n, off_t at), (fd, from, n, at), is_ours(fd))
REPLACE(int, ftruncate, (int fd, off_t size), (fd, size), is_ours(fd))
REPLACE(int, ftruncate64, (int fd, off64_t size), (fd, size), is_ours(fd))
REPLACE(int, rename, (const char *from, const char *to), (from, to), is_below(to))
REPLACE(int, unlink, (const char *path), (path), is_below(path))
REPLACE(int, mkdir, (const char *path, mode_t mode), (path, mode), is_below(path))
REPLACE_SYNC(fsync)
REPLACE_SYNC(fdatasync)
REPLACE_OPEN(open, (const char *path, int flags, ...), (path, flags, mode), path)
REPLACE_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), path)
REPLACE_OPEN(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), path)
REPLACE_OPEN(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), path)
