/*
 * Shared memory: two rings of bytes, one to each end, in a POSIX object, in a file that is mapped,
 * or in a memfd that is passed. A ring has one writer and one reader and holds as much as a pipe;
 * a message is copied in and out, as every other mechanism copies it. They differ in how an end
 * waits that finds its ring empty or full: it spins and yields, sleeps on a futex, or reads an
 * eventfd. The other end wakes it only if it says that it sleeps.
 */
#define _GNU_SOURCE
#include "ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 64, SPINS = 100, WAIT_NS = 200000000 };

/* Positions count bytes since the beginning, modulo 2^32; each has a cache line of its own. */
struct ring {
    _Alignas(LINE) _Atomic uint32_t written;
    _Atomic uint32_t reader_sleeps;
    _Alignas(LINE) _Atomic uint32_t taken;
    _Atomic uint32_t writer_sleeps;
    _Alignas(LINE) uint8_t bytes[RING_BYTES];
};

enum { RINGS_BYTES = 2 * sizeof(struct ring) };

static struct ring *ring_of(const struct channel *channel, bool incoming)
{
    return &channel->rings[incoming == (channel->role == SERVES) ? 0 : 1];
}

static bool map(struct channel *channel, int fd)
{
    void *at = mmap(NULL, RINGS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return refused("mmap", "enough memory, in /dev/shm and under the memory limit");
    channel->rings = at;
    return true;
}

void memory_close(struct channel *channel)
{
    if (channel->rings)
        munmap(channel->rings, RINGS_BYTES);
    channel->rings = NULL;
}

/* Allocated at once: a full /dev/shm is said here, not by a SIGBUS later. */
static bool make(struct channel *channel, int fd)
{
    int failed;
    while ((failed = posix_fallocate(fd, 0, RINGS_BYTES)) == EINTR)
        if (!go_on())
            return false;
    if (failed) {
        errno = failed;
        return refused("posix_fallocate", "128 KiB of room in the directory, or in /dev/shm");
    }
    return map(channel, fd);
}

/* ---- where the rings are ---- */

static bool open_object(struct channel *channel, int flags)
{
    char name[64];
    if (!global_name(channel->directory, "rings", name))
        return false;
    int fd = shm_open(name, O_RDWR | flags, 0600);
    if (fd < 0)
        return refused("shm_open", "the same /dev/shm for both ends: a shared IPC namespace");
    bool well = flags ? make(channel, fd) : map(channel, fd);
    close(fd);
    return well;
}

static bool prepare_object(struct channel *channel)
{
    return open_object(channel, O_CREAT | O_EXCL);
}

static bool join_object(struct channel *channel)
{
    return open_object(channel, 0);
}

static void forget_object(const char *directory)
{
    char name[64];
    if (global_name(directory, "rings", name))
        shm_unlink(name);
}

static bool open_file(struct channel *channel, int flags)
{
    char path[NAME_BYTES];
    if (!path_in(channel->directory, "rings", path))
        return false;
    int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return refused("open", "a directory that both ends see and may write");
    bool well = flags ? make(channel, fd) : map(channel, fd);
    close(fd);
    return well;
}

static bool prepare_file(struct channel *channel)
{
    return open_file(channel, O_CREAT | O_EXCL);
}

static bool join_file(struct channel *channel)
{
    return open_file(channel, 0);
}

static void forget_file(const char *directory)
{
    char path[NAME_BYTES];
    if (path_in(directory, "rings", path))
        unlink(path);
}

/* A memfd, and an eventfd for each end to sleep on; all three are passed. */
static bool prepare_passed(struct channel *channel)
{
    channel->passed[0] = memfd_create("socklab-ipc", MFD_CLOEXEC);
    if (channel->passed[0] < 0)
        return refused("memfd_create", NULL);
    for (int i = 1; i <= 2; i++)
        if ((channel->passed[i] = eventfd(0, EFD_CLOEXEC)) < 0)
            return refused("eventfd", NULL);
    channel->passed_count = 3;
    channel->keeps_passed = true;
    return make(channel, channel->passed[0]);
}

static bool take_passed(struct channel *channel)
{
    return map(channel, channel->passed[0]);
}

/* ---- how an end waits ---- */

/* The eventfd that the end `role` sleeps on. */
static int bell(const struct channel *channel, enum role role)
{
    return channel->passed[role == SERVES ? 1 : 2];
}

static bool has_bells(const struct channel *channel)
{
    return channel->passed[1] >= 0;
}

static bool sleep_on(struct channel *channel, _Atomic uint32_t *word, uint32_t value)
{
    if (has_bells(channel)) {
        uint64_t rung;
        if (read(bell(channel, channel->role), &rung, sizeof rung) < 0 && errno != EINTR)
            return refused("read", NULL);
    } else {
        const struct timespec most = {.tv_nsec = WAIT_NS};
        if (syscall(SYS_futex, word, FUTEX_WAIT, value, &most, NULL, 0) < 0 && errno != EAGAIN &&
            errno != EINTR && errno != ETIMEDOUT)
            return refused("futex", NULL);
    }
    return go_on();
}

static bool wake(struct channel *channel, _Atomic uint32_t *word)
{
    static const uint64_t one = 1;
    if (!has_bells(channel))
        return syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0) >= 0 ||
               refused("futex", NULL);
    enum role other = channel->role == SERVES ? MEASURES : SERVES;
    while (write(bell(channel, other), &one, sizeof one) < 0)
        if (errno != EINTR)
            return refused("write", NULL);
        else if (!go_on())
            return false;
    return true;
}

static void pause_once(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits until `word` has another value than `value`. */
static bool changed(struct channel *channel, _Atomic uint32_t *word, uint32_t value,
                    _Atomic uint32_t *sleeps)
{
    if (channel->mechanism->spins) {
        /* Where both ends have one CPU, the other moves only if this one gives it up. */
        for (unsigned spins = 1; atomic_load_explicit(word, memory_order_acquire) == value; spins++)
            if (spins % SPINS)
                pause_once();
            else if (sched_yield(), !go_on())
                return false;
        return true;
    }
    bool well = true;
    while (well && atomic_load_explicit(word, memory_order_acquire) == value) {
        atomic_store(sleeps, 1);
        if (atomic_load(word) == value) /* else the other end moved before it could see the 1 */
            well = sleep_on(channel, word, value);
        atomic_store(sleeps, 0);
    }
    return well;
}

static bool moved(struct channel *channel, _Atomic uint32_t *word, uint32_t value,
                  _Atomic uint32_t *sleeps)
{
    if (channel->mechanism->spins) {
        atomic_store_explicit(word, value, memory_order_release);
        return true;
    }
    atomic_store(word, value); /* in one order with the sleeper's store and load */
    return !atomic_load(sleeps) || wake(channel, word);
}

/* ---- messages ---- */

static size_t least_of(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

static bool send_ring(struct channel *channel, uint8_t *data, size_t bytes)
{
    struct ring *ring = ring_of(channel, false);
    uint32_t written = atomic_load_explicit(&ring->written, memory_order_relaxed);
    while (bytes > 0) {
        uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_acquire);
        uint32_t held = written - taken;
        if (held > RING_BYTES)
            return went_wrong("the ring's positions make no sense");
        if (held == RING_BYTES) {
            if (!changed(channel, &ring->taken, taken, &ring->writer_sleeps))
                return false;
            continue;
        }
        uint32_t at = written % RING_BYTES;
        size_t part = least_of(bytes, RING_BYTES - held, RING_BYTES - at);
        memcpy(ring->bytes + at, data, part);
        written += (uint32_t)part;
        data += part;
        bytes -= part;
        if (!moved(channel, &ring->written, written, &ring->reader_sleeps))
            return false;
    }
    return true;
}

static bool receive_ring(struct channel *channel, uint8_t *data, size_t bytes)
{
    struct ring *ring = ring_of(channel, true);
    uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    while (bytes > 0) {
        uint32_t written = atomic_load_explicit(&ring->written, memory_order_acquire);
        uint32_t held = written - taken;
        if (held > RING_BYTES)
            return went_wrong("the ring's positions make no sense");
        if (held == 0) {
            if (!changed(channel, &ring->written, written, &ring->reader_sleeps))
                return false;
            continue;
        }
        uint32_t at = taken % RING_BYTES;
        size_t part = least_of(bytes, held, RING_BYTES - at);
        memcpy(data, ring->bytes + at, part);
        taken += (uint32_t)part;
        data += part;
        bytes -= part;
        if (!moved(channel, &ring->taken, taken, &ring->writer_sleeps))
            return false;
    }
    return true;
}

#define RING .send = send_ring, .receive = receive_ring
#define OBJECT .shares = "ipc", .prepare = prepare_object, .open = join_object, \
               .forget = forget_object

const struct mechanism MEMORIES[] = {
    {.name = "memory-spin", OBJECT, RING, .spins = true},
    {.name = "memory-futex", OBJECT, RING},
    {.name = "memory-eventfd", .shares = "", .prepare = prepare_passed, .open = take_passed, RING},
    {.name = "mapped-file", .shares = "", .prepare = prepare_file, .open = join_file, RING,
     .forget = forget_file},
    {.name = NULL},
};
