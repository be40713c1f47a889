/* Message queues, POSIX and System V: one to each end. */
#define _GNU_SOURCE
#include "ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_QUEUED = 10 }; /* the kernel's default, also where an administrator allows more */

/* What the kernel's limits allow without privileges, as an application would find it. */
static long setting(const char *path, long otherwise)
{
    char text[32];
    long value = otherwise;
    FILE *file = fopen(path, "re");
    if (file && fgets(text, sizeof text, file))
        value = strtol(text, NULL, 10);
    if (file)
        fclose(file);
    return value;
}

static const char *const QUEUE_NAMES[] = {"queue-to", "queue-from"};

static void forget_posix(const char *directory)
{
    char name[64];
    for (int i = 0; i < 2; i++)
        if (global_name(directory, QUEUE_NAMES[i], name))
            mq_unlink(name);
}

static bool open_posix(struct channel *channel, int flags)
{
    static const char *const allow =
        "CONFIG_POSIX_MQUEUE, the same IPC namespace for both ends, and RLIMIT_MSGQUEUE";
    struct mq_attr like = {.mq_maxmsg = setting("/proc/sys/fs/mqueue/msg_max", 10),
                           .mq_msgsize = setting("/proc/sys/fs/mqueue/msgsize_max", 8192)};
    mqd_t queues[2];
    char name[64];
    if (like.mq_maxmsg > MOST_QUEUED)
        like.mq_maxmsg = MOST_QUEUED;
    if (like.mq_msgsize > MOST_BYTES)
        like.mq_msgsize = MOST_BYTES;
    for (int i = 0; i < 2; i++) {
        if (!global_name(channel->directory, QUEUE_NAMES[i], name))
            return false;
        queues[i] = mq_open(name, O_RDWR | O_CLOEXEC | flags, 0600, &like);
        if (queues[i] < 0)
            return refused("mq_open", allow);
        if (i == 0)
            channel->in = queues[0];
        else
            channel->out = queues[1];
    }
    if (channel->role == MEASURES) {
        channel->in = queues[1];
        channel->out = queues[0];
    }
    channel->limit = (size_t)like.mq_msgsize;
    channel->limit_is = "fs.mqueue.msgsize_max";
    return true;
}

static bool prepare_posix(struct channel *channel)
{
    return open_posix(channel, O_CREAT | O_EXCL);
}

static bool join_posix(struct channel *channel)
{
    return open_posix(channel, 0);
}

static bool send_posix(struct channel *channel, uint8_t *data, size_t bytes)
{
    while (mq_send(channel->out, (char *)data, bytes, 0) != 0)
        if (errno != EINTR)
            return refused("mq_send", NULL);
        else if (!go_on())
            return false;
    return true;
}

/* mq_receive() wants room for the longest message that the queue may hold. */
static bool receive_posix(struct channel *channel, uint8_t *data, size_t bytes)
{
    ssize_t got;
    while ((got = mq_receive(channel->in, (char *)data, channel->limit, NULL)) < 0)
        if (errno != EINTR)
            return refused("mq_receive", NULL);
        else if (!go_on())
            return false;
    return (size_t)got == bytes ||
           went_wrong("a message of %zd bytes came where %zu were sent", got, bytes);
}

/* System V: one queue, whose messages carry their direction as their kind. Keys follow from the
   directory as ftok() makes them. */
enum { KEY_OF = 'q', TO_SERVING = 1, TO_MEASURING = 2 };

/* The kernel takes a message with its kind before it, and gives it so: the kind goes into the
   headroom, where an application's own struct would have it, and nothing is copied for it. */
static void *with_kind(uint8_t *data)
{
    return data - sizeof(long);
}

static void forget_system_v(const char *directory)
{
    key_t key = ftok(directory, KEY_OF);
    int queue = key == -1 ? -1 : msgget(key, 0);
    if (queue >= 0)
        msgctl(queue, IPC_RMID, NULL);
}

static bool open_system_v(struct channel *channel, int flags)
{
    key_t key = ftok(channel->directory, KEY_OF);
    if (key == -1)
        return refused("ftok", "the directory, made beforehand");
    int queue = msgget(key, 0600 | flags);
    if (queue < 0)
        return refused("msgget", "CONFIG_SYSVIPC, and the same IPC namespace for both ends");
    channel->queue = queue;
    channel->kind[0] = channel->role == SERVES ? TO_SERVING : TO_MEASURING;
    channel->kind[1] = channel->role == SERVES ? TO_MEASURING : TO_SERVING;
    channel->limit = (size_t)setting("/proc/sys/kernel/msgmax", 8192);
    channel->limit_is = "kernel.msgmax";
    return true;
}

static bool prepare_system_v(struct channel *channel)
{
    return open_system_v(channel, IPC_CREAT | IPC_EXCL);
}

static bool join_system_v(struct channel *channel)
{
    return open_system_v(channel, 0);
}

static bool send_system_v(struct channel *channel, uint8_t *data, size_t bytes)
{
    memcpy(with_kind(data), &channel->kind[1], sizeof channel->kind[1]);
    while (msgsnd(channel->queue, with_kind(data), bytes, 0) != 0)
        if (errno != EINTR)
            return refused("msgsnd", NULL);
        else if (!go_on())
            return false;
    return true;
}

static bool receive_system_v(struct channel *channel, uint8_t *data, size_t bytes)
{
    ssize_t got;
    while ((got = msgrcv(channel->queue, with_kind(data), MOST_BYTES, channel->kind[0], 0)) < 0)
        if (errno != EINTR)
            return refused("msgrcv", NULL);
        else if (!go_on())
            return false;
    return (size_t)got == bytes ||
           went_wrong("a message of %zd bytes came where %zu were sent", got, bytes);
}

const struct mechanism QUEUES[] = {
    {.name = "posix-queue", .shares = "ipc", .prepare = prepare_posix, .open = join_posix,
     .send = send_posix, .receive = receive_posix, .forget = forget_posix},
    {.name = "system-v-queue", .shares = "ipc", .prepare = prepare_system_v, .open = join_system_v,
     .send = send_system_v, .receive = receive_system_v, .forget = forget_system_v},
    {.name = NULL},
};
