/* Anonymous pipes, whose descriptors are passed over the meeting, and pipes with a name. */
#define _GNU_SOURCE
#include "ipc.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Who has many gets smaller ones (fs.pipe-user-pages-soft): of two perhaps the second only. */
static bool sized(struct channel *channel)
{
    channel->pipe_bytes[0] = fcntl(channel->out, F_GETPIPE_SZ);
    channel->pipe_bytes[1] = fcntl(channel->in, F_GETPIPE_SZ);
    return (channel->pipe_bytes[0] > 0 && channel->pipe_bytes[1] > 0) || refused("fcntl", NULL);
}

static bool prepare_pipes(struct channel *channel)
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) != 0)
        return refused("pipe2", "a higher limit of open files");
    channel->in = to[0];
    channel->passed[1] = to[1];
    if (pipe2(from, O_CLOEXEC) != 0)
        return refused("pipe2", "a higher limit of open files");
    channel->passed[0] = from[0];
    channel->out = from[1];
    channel->passed_count = 2;
    return true;
}

static bool take_pipes(struct channel *channel)
{
    channel->in = channel->passed[0];
    channel->out = channel->passed[1];
    channel->passed[0] = channel->passed[1] = -1;
    return sized(channel);
}

static const char *const FIFOS[] = {"fifo-to", "fifo-from"};

static void forget_fifos(const char *directory)
{
    char path[NAME_BYTES];
    for (int i = 0; i < 2; i++)
        if (path_in(directory, FIFOS[i], path))
            unlink(path);
}

static bool prepare_fifos(struct channel *channel)
{
    char path[NAME_BYTES];
    for (int i = 0; i < 2; i++)
        if (!path_in(channel->directory, FIFOS[i], path))
            return false;
        else if (mkfifo(path, 0600) != 0)
            return refused("mkfifo", "a directory that this user may write");
        else if (chmod(path, 0666) != 0)
            return refused("chmod", NULL);
    return true;
}

/* O_RDWR waits for nobody (fifo(7)), so neither end can be left hanging in open(). */
static int open_fifo(struct channel *channel, int which)
{
    char path[NAME_BYTES];
    int fd = -1;
    if (path_in(channel->directory, FIFOS[which], path)) {
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            refused("open", "a directory that both ends see, and a FIFO that both may open");
    }
    return fd;
}

static bool open_fifos(struct channel *channel)
{
    bool serves = channel->role == SERVES;
    channel->in = open_fifo(channel, serves ? 0 : 1);
    channel->out = open_fifo(channel, serves ? 1 : 0);
    return channel->in >= 0 && channel->out >= 0 && sized(channel);
}

const struct mechanism PIPES[] = {
    {.name = "pipe", .shares = "", .prepare = prepare_pipes, .open = take_pipes,
     .send = send_bytes, .receive = receive_bytes},
    {.name = "fifo", .shares = "", .prepare = prepare_fifos, .open = open_fifos,
     .complete = open_fifos, .send = send_bytes, .receive = receive_bytes,
     .forget = forget_fifos},
    {.name = NULL},
};
