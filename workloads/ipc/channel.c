/* What every mechanism of descriptors does, and the note of what went wrong first. */
#define _GNU_SOURCE
#include "ipc.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct trouble trouble;

bool refused(const char *call, const char *allow)
{
    if (!trouble.call)
        trouble = (struct trouble){.call = call, .allow = allow, .number = errno};
    return false;
}

bool went_wrong(const char *format, ...)
{
    if (!trouble.call) {
        va_list arguments;
        trouble = (struct trouble){.call = "ipc"};
        va_start(arguments, format);
        vsnprintf(trouble.text, sizeof trouble.text, format, arguments);
        va_end(arguments);
    }
    return false;
}

void channel_init(struct channel *channel, const struct mechanism *mechanism, enum role role,
                  const char *directory)
{
    memset(channel, 0, sizeof *channel);
    channel->mechanism = mechanism;
    channel->role = role;
    channel->directory = directory;
    channel->far = place_far(directory, &(struct sockaddr_in){0});
    channel->in = channel->out = channel->listener = -1;
    for (int i = 0; i < MOST_PASSED; i++)
        channel->passed[i] = -1;
}

static void close_once(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void channel_close(struct channel *channel, bool forgets)
{
    if (channel->out == channel->in)
        channel->out = -1;
    close_once(&channel->in);
    close_once(&channel->out);
    close_once(&channel->listener);
    for (int i = 0; i < MOST_PASSED; i++)
        close_once(&channel->passed[i]);
    memory_close(channel);
    if (forgets && channel->mechanism->forget)
        channel->mechanism->forget(channel->directory);
}

bool write_whole(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(fd, data, bytes);
        if (written < 0) {
            if (errno != EINTR && errno != EAGAIN)
                return refused("write", NULL);
            if (!go_on())
                return false;
            continue;
        }
        data += written;
        bytes -= (size_t)written;
    }
    return true;
}

bool read_whole(int fd, uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t got = read(fd, data, bytes);
        if (got == 0)
            return went_wrong("the other end closed in the middle");
        if (got < 0) {
            if (errno != EINTR && errno != EAGAIN)
                return refused("read", NULL);
            if (!go_on())
                return false;
            continue;
        }
        data += got;
        bytes -= (size_t)got;
    }
    return true;
}

bool send_bytes(struct channel *channel, uint8_t *data, size_t bytes)
{
    return write_whole(channel->out, data, bytes);
}

bool receive_bytes(struct channel *channel, uint8_t *data, size_t bytes)
{
    return read_whole(channel->in, data, bytes);
}
