/*
 * A wall clock that is wrong, under any program: preload this library and set
 *
 *   WRONG_CLOCK_CONTROL   the file that says by how much, 16 bytes (exists)
 *
 * The control file is mapped, so whoever writes into it steps the clock of a running program:
 *
 *   offset  0  int64   nanoseconds that the wall clock is ahead
 *   offset  8  uint64  how often the wrong clock was read, counted here
 *
 * Monotonic clocks stay right, and so does every sleep. libfaketime does not do here: it waits for
 * itself when the program's allocator reads a clock while it begins (jemalloc does), and it reads
 * its file anew for each call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANOS 1000000000LL

struct control {
    int64_t offset_ns;
    uint64_t reads;
};

static struct control *control;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static void fail(const char *what, const char *path)
{
    dprintf(STDERR_FILENO, "wrong_clock: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

static int right(clockid_t clock, struct timespec *time)
{
    /* Before our constructor has run: looking the real one up may allocate, and that reads time. */
    if (real_clock_gettime == NULL)
        return (int)syscall(SYS_clock_gettime, clock, time);
    return real_clock_gettime(clock, time);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = right(clock, time);
    if (result != 0 || control == NULL
        || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return result;
    int64_t offset = __atomic_load_n(&control->offset_ns, __ATOMIC_RELAXED);
    if (offset == 0)
        return 0;
    int64_t wrong = time->tv_sec * NANOS + time->tv_nsec + offset;
    time->tv_sec = wrong / NANOS;
    time->tv_nsec = wrong % NANOS;
    __atomic_add_fetch(&control->reads, 1, __ATOMIC_RELAXED);
    return 0;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone)
{
    struct timespec time;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &time) != 0)
        return -1;
    value->tv_sec = time.tv_sec;
    value->tv_usec = time.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec time;
    if (clock_gettime(CLOCK_REALTIME, &time) != 0)
        return (time_t)-1;
    if (out != NULL)
        *out = time.tv_sec;
    return time.tv_sec;
}

__attribute__((constructor)) static void begin(void)
{
    const char *given = getenv("WRONG_CLOCK_CONTROL");
    if (given == NULL)
        return;
    int fd = open(given, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fail("open", given);
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        fail("map", given);
    close(fd);
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    control = mapped;
}
