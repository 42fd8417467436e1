/*
 * A disk whose syncs are slow or fail, under any program: preload this library and set
 *
 *   FAULTY_SYNC_DATA      the directory whose files are on that disk (absolute, exists)
 *   FAULTY_SYNC_CONTROL   the file that says what happens, 32 bytes (exists)
 *
 * The control file is mapped, so whoever writes into it steers a running program:
 *
 *   offset  0  uint32  microseconds that every fsync and fdatasync takes longer
 *   offset  4  uint32  how many of the syncs that follow fail with EIO; all when 0xffffffff
 *   offset  8  uint64  how many syncs were delayed, counted here
 *   offset 16  uint64  how many syncs failed, counted here
 *   offset 24  uint64  how many syncs there were, counted here
 *
 * A sync that fails is not passed on: what it was for may be lost.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ALL UINT32_MAX

struct control {
    uint32_t delay_us;
    uint32_t failing;
    uint64_t delayed;
    uint64_t failed;
    uint64_t synced;
};

static char data[PATH_MAX];
static size_t data_length;
static struct control *control;
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

static void fail(const char *what, const char *path)
{
    dprintf(STDERR_FILENO, "faulty_sync: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

/* Idempotent: constructors of other libraries may call in before ours has run. */
static void find_real(void)
{
    if (real_fsync != NULL)
        return;
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    if (real_fsync == NULL || real_fdatasync == NULL)
        fail("find", "fsync");
}

static int is_on_disk(int fd)
{
    char link[64], path[PATH_MAX];
    if (control == NULL)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = '\0';
    return strncmp(path, data, data_length) == 0
        && (path[data_length] == '\0' || path[data_length] == '/');
}

/* Takes one of the failures that are left. */
static int takes_failure(void)
{
    uint32_t left = __atomic_load_n(&control->failing, __ATOMIC_SEQ_CST);
    while (left != 0 && left != ALL) {
        if (__atomic_compare_exchange_n(&control->failing, &left, left - 1, 0, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return 1;
    }
    return left == ALL;
}

static int faulty(int fd, int (*real)(int))
{
    if (!is_on_disk(fd))
        return real(fd);
    uint32_t delay = __atomic_load_n(&control->delay_us, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&control->synced, 1, __ATOMIC_SEQ_CST);
    if (delay != 0) {
        struct timespec wait = {delay / 1000000, (long)(delay % 1000000) * 1000};
        while (nanosleep(&wait, &wait) != 0 && errno == EINTR)
            continue;
        __atomic_add_fetch(&control->delayed, 1, __ATOMIC_SEQ_CST);
    }
    if (takes_failure()) {
        __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fsync(int fd)
{
    find_real();
    return faulty(fd, real_fsync);
}

int fdatasync(int fd)
{
    find_real();
    return faulty(fd, real_fdatasync);
}

__attribute__((constructor)) static void begin(void)
{
    const char *data_given = getenv("FAULTY_SYNC_DATA");
    const char *control_given = getenv("FAULTY_SYNC_CONTROL");
    find_real();
    if (data_given == NULL || control_given == NULL)
        return;
    if (realpath(data_given, data) == NULL)
        fail("find", data_given);
    int fd = open(control_given, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fail("open", control_given);
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        fail("map", control_given);
    close(fd);
    data_length = strlen(data);
    control = mapped;
}
