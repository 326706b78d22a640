/* Makes a disk slow: each fsync and fdatasync takes SLOW_SYNC_MS longer, and waits as long as the file SLOW_SYNC_HOLD is there.
 *
 * Preloaded into the agent.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(long ms)
{
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
    while (nanosleep(&time, &time) != 0)
        ;
}

static void wait_for_the_disk(void)
{
    const char *ms = getenv("SLOW_SYNC_MS"), *hold = getenv("SLOW_SYNC_HOLD");
    if (ms)
        sleep_ms(atol(ms));
    while (hold && access(hold, F_OK) == 0)
        sleep_ms(5);
}

int fsync(int fd)
{
    wait_for_the_disk();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    wait_for_the_disk();
    return (int)syscall(SYS_fdatasync, fd);
}
