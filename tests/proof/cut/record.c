/* Writes down, in their order, all changes that a process makes below PROOF_ROOT, and all syncs: into PROOF_LOG.
 *
 * Preloaded into the agent. One lock over each change and its record, so that the order of the records is that of the
 * changes and a sync stands behind everything that it covers. sync_file_range is not recorded: it promises nothing about
 * a power cut (sync_file_range(2)).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOT, CREATE, WRITE, TRUNCATE, SYNC, MKDIR, RENAME, REMOVE };

struct __attribute__((packed)) record {
    uint8_t kind;
    uint64_t inode, number;
    uint32_t first_len, second_len;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int records = -1;
static char root[PATH_MAX];

static void note(int kind, uint64_t inode, uint64_t number, const void *first, size_t first_len, const char *second)
{
    size_t second_len = second ? strlen(second) : 0;
    struct record head = { kind, inode, number, first_len, second_len };
    struct iovec parts[] = { { &head, sizeof head }, { (void *)first, first_len }, { (void *)second, second_len } };
    size_t len = sizeof head + first_len + second_len;
    if (syscall(SYS_writev, records, parts, 3) != (long)len)
        abort();
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("PROOF_LOG"), *below = getenv("PROOF_ROOT");
    struct stat facts;
    if (!path || !below || stat(below, &facts))
        return;
    snprintf(root, sizeof root, "%s", below);
    records = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    note(ROOT, facts.st_ino, 0, NULL, 0, NULL);
}

static int is_below(const char *path)
{
    size_t len = strlen(root);
    return records >= 0 && !strncmp(path, root, len) && (path[len] == 0 || path[len] == '/');
}

/* The path of an open file. */
static int path_of(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long len = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[len < 0 ? 0 : len] = 0;
    return len > 0;
}

/* The absolute path of a name as it is given to a call. */
static void absolute(int dir, const char *name, char *path)
{
    char base[PATH_MAX] = "";
    if (name[0] != '/' && (dir == AT_FDCWD ? !getcwd(base, sizeof base) : !path_of(dir, base)))
        base[0] = 0;
    snprintf(path, PATH_MAX, "%s%s%s", base, name[0] == '/' ? "" : "/", name);
}

/* The inode of an open file or directory below the root, or 0. */
static uint64_t inode_below(int fd)
{
    struct stat facts;
    char path[PATH_MAX];
    if (records < 0 || fd == records || fstat(fd, &facts) || !(S_ISREG(facts.st_mode) || S_ISDIR(facts.st_mode)))
        return 0;
    return path_of(fd, path) && is_below(path) ? facts.st_ino : 0;
}

static int open_noted(int dir, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    struct stat before, after;
    int changes = flags & (O_CREAT | O_TRUNC);
    if (changes)
        absolute(dir, name, path);
    if (!changes || !is_below(path))
        return syscall(SYS_openat, dir, name, flags, mode);
    pthread_mutex_lock(&turn);
    int there = !fstatat(dir, name, &before, 0);
    int fd = syscall(SYS_openat, dir, name, flags, mode);
    int error = errno;
    if (fd >= 0 && !fstat(fd, &after)) {
        if (!there)
            note(CREATE, after.st_ino, 0, path, strlen(path), NULL);
        else if (flags & O_TRUNC)
            note(TRUNCATE, after.st_ino, 0, NULL, 0, NULL);
    }
    pthread_mutex_unlock(&turn);
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list rest)
{
    return flags & O_CREAT ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name)                                     \
    int name(const char *path, int flags, ...)         \
    {                                                  \
        va_list rest;                                  \
        va_start(rest, flags);                         \
        mode_t mode = mode_of(flags, rest);            \
        va_end(rest);                                  \
        return open_noted(AT_FDCWD, path, flags, mode); \
    }
#define OPENAT(name)                                   \
    int name(int dir, const char *path, int flags, ...) \
    {                                                  \
        va_list rest;                                  \
        va_start(rest, flags);                         \
        mode_t mode = mode_of(flags, rest);            \
        va_end(rest);                                  \
        return open_noted(dir, path, flags, mode);     \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* Does `call`, whose result is `result`, and notes it with `record` if it succeeds. */
#define NOTED(type, call, record)        \
    do {                                 \
        pthread_mutex_lock(&turn);       \
        type result = (call);            \
        int error = errno;               \
        if (result >= 0)                 \
            record;                      \
        pthread_mutex_unlock(&turn);     \
        errno = error;                   \
        return result;                   \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t count)
{
    uint64_t inode = inode_below(fd);
    if (!inode)
        return syscall(SYS_write, fd, bytes, count);
    NOTED(ssize_t, syscall(SYS_write, fd, bytes, count),
          note(WRITE, inode, lseek(fd, 0, SEEK_CUR) - result, bytes, result, NULL));
}

static ssize_t pwrite_noted(int fd, const void *bytes, size_t count, off64_t offset)
{
    uint64_t inode = inode_below(fd);
    if (!inode)
        return syscall(SYS_pwrite64, fd, bytes, count, offset);
    NOTED(ssize_t, syscall(SYS_pwrite64, fd, bytes, count, offset), note(WRITE, inode, offset, bytes, result, NULL));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwrite_noted(fd, bytes, count, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) { return pwrite_noted(fd, bytes, count, offset); }

/* What copies without showing the bytes is not there: the caller reads and writes instead. */
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *to_at, size_t len, unsigned flags)
{
    (void)from, (void)at, (void)to, (void)to_at, (void)len, (void)flags;
    errno = ENOSYS;
    return -1;
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t len)
{
    (void)to, (void)from, (void)at, (void)len;
    errno = ENOSYS;
    return -1;
}

static int truncate_noted(int fd, off64_t len)
{
    uint64_t inode = inode_below(fd);
    NOTED(int, syscall(SYS_ftruncate, fd, len), if (inode) note(TRUNCATE, inode, len, NULL, 0, NULL));
}

int ftruncate(int fd, off_t len) { return truncate_noted(fd, len); }
int ftruncate64(int fd, off64_t len) { return truncate_noted(fd, len); }

static int sync_noted(long call, int fd)
{
    uint64_t inode = inode_below(fd);
    NOTED(int, syscall(call, fd), if (inode) note(SYNC, inode, 0, NULL, 0, NULL));
}

int fsync(int fd) { return sync_noted(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_noted(SYS_fdatasync, fd); }

int mkdir(const char *name, mode_t mode)
{
    char path[PATH_MAX];
    struct stat facts;
    absolute(AT_FDCWD, name, path);
    NOTED(int, syscall(SYS_mkdirat, AT_FDCWD, name, mode),
          if (is_below(path) && !stat(path, &facts)) note(MKDIR, facts.st_ino, 0, path, strlen(path), NULL));
}

int rename(const char *from, const char *to)
{
    char first[PATH_MAX], second[PATH_MAX];
    absolute(AT_FDCWD, from, first);
    absolute(AT_FDCWD, to, second);
    NOTED(int, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0),
          if (is_below(first)) note(RENAME, 0, 0, first, strlen(first), second));
}

static int remove_noted(int dir, const char *name, int flags)
{
    char path[PATH_MAX];
    absolute(dir, name, path);
    NOTED(int, syscall(SYS_unlinkat, dir, name, flags),
          if (is_below(path)) note(REMOVE, 0, 0, path, strlen(path), NULL));
}

int unlink(const char *name) { return remove_noted(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return remove_noted(AT_FDCWD, name, AT_REMOVEDIR); }
int unlinkat(int dir, const char *name, int flags) { return remove_noted(dir, name, flags); }
