/*
 * A file with a lock: one mailbox to each end. Who sends waits until the mailbox is empty, who
 * receives until it is full, and both look under an exclusive lock (fcntl, of the open file
 * description), since nobody tells them. Messages are written to the file and read from it.
 */
#define _GNU_SOURCE
#include "ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

/* A mailbox: at its place in the file eight bytes, full or empty, then the message. */
enum { FULL = 8, PLACE = FULL + MOST_BYTES };

static bool locks(int fd, short how)
{
    struct flock lock = {.l_type = how, .l_whence = SEEK_SET};
    while (fcntl(fd, F_OFD_SETLKW, &lock) != 0)
        if (errno != EINTR)
            return refused("fcntl", "a file system with locks");
        else if (!go_on())
            return false;
    return true;
}

static bool open_locked(struct channel *channel, int flags)
{
    char path[NAME_BYTES];
    if (!path_in(channel->directory, "mailboxes", path))
        return false;
    channel->in = channel->out = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
    if (channel->in < 0)
        return refused("open", "a directory that both ends see and may write");
    return ftruncate(channel->in, 2 * PLACE) == 0 || refused("ftruncate", NULL);
}

static bool prepare_locked(struct channel *channel)
{
    return open_locked(channel, O_CREAT | O_EXCL);
}

static bool join_locked(struct channel *channel)
{
    return open_locked(channel, 0);
}

static void forget_locked(const char *directory)
{
    char path[NAME_BYTES];
    if (path_in(directory, "mailboxes", path))
        unlink(path);
}

static bool short_of(ssize_t done, size_t wanted)
{
    if (done < 0)
        return !refused("pread, pwrite", "room in the directory");
    return (size_t)done != wanted && !went_wrong("the file is shorter than its mailboxes");
}

/* Leaves the lock held when the mailbox is full, or empty, as wanted. */
static bool holds(struct channel *channel, off_t place, uint64_t wanted)
{
    for (;;) {
        uint64_t full;
        if (!locks(channel->in, F_WRLCK) ||
            short_of(pread(channel->in, &full, FULL, place), FULL))
            return false;
        if (full == wanted)
            return true;
        if (!locks(channel->in, F_UNLCK))
            return false;
        sched_yield();
        if (!go_on())
            return false;
    }
}

static bool leaves(struct channel *channel, off_t place, uint64_t full)
{
    return !short_of(pwrite(channel->in, &full, FULL, place), FULL) && locks(channel->in, F_UNLCK);
}

static off_t place_of(const struct channel *channel, bool incoming)
{
    return incoming == (channel->role == SERVES) ? 0 : PLACE;
}

static bool send_locked(struct channel *channel, uint8_t *data, size_t bytes)
{
    off_t place = place_of(channel, false);
    return holds(channel, place, 0) &&
           !short_of(pwrite(channel->in, data, bytes, place + FULL), bytes) &&
           leaves(channel, place, 1);
}

static bool receive_locked(struct channel *channel, uint8_t *data, size_t bytes)
{
    off_t place = place_of(channel, true);
    return holds(channel, place, 1) &&
           !short_of(pread(channel->in, data, bytes, place + FULL), bytes) &&
           leaves(channel, place, 0);
}

const struct mechanism LOCKED_FILE[] = {
    {.name = "locked-file", .shares = "", .prepare = prepare_locked, .open = join_locked,
     .send = send_locked, .receive = receive_locked, .forget = forget_locked},
    {.name = NULL},
};
