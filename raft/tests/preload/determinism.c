/*
 * Preloaded into the process of one simulation: every random byte that a library asks the kernel
 * for comes from the seed, and the clocks stand still: HTTP answers carry a date, and libraries
 * measure how long things took. The simulation's own time is tokio's, which the driver moves. Each
 * thread has its own sequence, so threads that run beside the simulation (those of the test
 * harness) cannot shift it.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

/* One for all clocks: a deadline of the test harness is years away. */
#define CLOCK_SECONDS 1700000000

static __thread uint64_t state;
static __thread int begun;

/* splitmix64 */
static uint64_t next(void) {
    if (!begun) {
        const char *seed = getenv("LOCKBOX_SIM_ENTROPY");
        state = seed ? strtoull(seed, NULL, 10) : 0;
        begun = 1;
    }
    uint64_t mixed = (state += UINT64_C(0x9e3779b97f4a7c15));
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
    (void)flags;
    unsigned char *bytes = buffer;
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (unsigned char)(next() >> 56);
    }
    return (ssize_t)length;
}

int getentropy(void *buffer, size_t length) {
    getrandom(buffer, length, 0);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    (void)clock;
    now->tv_sec = CLOCK_SECONDS;
    now->tv_nsec = 0;
    return 0;
}
