/* Message queues: POSIX, one to each end, and System V, one for both ways. */
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

/* System V: one queue, whose messages carry their direction as their kind. It has no key, which
   another program's queue might have too: its number stands in a file, with the time of its making,
   since numbers are given again. */
enum { TO_SERVING = 1, TO_MEASURING = 2 };

static const char NUMBER_FILE[] = "queue-number";

/* The kernel takes a message with its kind before it, and gives it so: the kind goes into the
   headroom, where an application's own struct would have it, and nothing is copied for it. */
static void *with_kind(uint8_t *data)
{
    return data - sizeof(long);
}

/* The number in the directory's file; -1 where there is none, or the queue is another by now. */
static int numbered(const char *directory)
{
    char path[NAME_BYTES];
    int queue = -1;
    long long made = 0;
    struct msqid_ds found;
    FILE *file = path_in(directory, NUMBER_FILE, path) ? fopen(path, "re") : NULL;
    if (!file)
        return -1;
    bool whole = fscanf(file, "%d %lld", &queue, &made) == 2;
    fclose(file);
    errno = EIDRM; /* unless msgctl() says another */
    return whole && msgctl(queue, IPC_STAT, &found) == 0 && found.msg_ctime == made ? queue : -1;
}

static void forget_system_v(const char *directory)
{
    char path[NAME_BYTES];
    int queue = numbered(directory);
    if (queue >= 0)
        msgctl(queue, IPC_RMID, NULL);
    if (path_in(directory, NUMBER_FILE, path))
        unlink(path);
}

static bool number(struct channel *channel)
{
    char path[NAME_BYTES];
    struct msqid_ds found;
    if (!path_in(channel->directory, NUMBER_FILE, path))
        return false;
    if (msgctl(channel->queue, IPC_STAT, &found) != 0)
        return refused("msgctl", NULL);
    FILE *file = fopen(path, "wxe");
    if (!file || fprintf(file, "%d %lld\n", channel->queue, (long long)found.msg_ctime) < 0 ||
        fclose(file) != 0)
        return refused("fopen", "a directory that this user may write");
    return true;
}

static bool use_system_v(struct channel *channel)
{
    channel->kind[0] = channel->role == SERVES ? TO_SERVING : TO_MEASURING;
    channel->kind[1] = channel->role == SERVES ? TO_MEASURING : TO_SERVING;
    struct msqid_ds found;
    if (msgctl(channel->queue, IPC_STAT, &found) != 0)
        return refused("msgctl", NULL);
    channel->limit = (size_t)setting("/proc/sys/kernel/msgmax", 8192);
    channel->limit_is = "kernel.msgmax";
    if (found.msg_qbytes < channel->limit) { /* one that the queue never has room for */
        channel->limit = found.msg_qbytes;
        channel->limit_is = "kernel.msgmnb";
    }
    return true;
}

static bool prepare_system_v(struct channel *channel)
{
    channel->queue = msgget(IPC_PRIVATE, 0600);
    if (channel->queue < 0)
        return refused("msgget", "CONFIG_SYSVIPC, and fewer queues than kernel.msgmni");
    if (!number(channel)) {
        msgctl(channel->queue, IPC_RMID, NULL);
        return false;
    }
    return use_system_v(channel);
}

static bool join_system_v(struct channel *channel)
{
    channel->queue = numbered(channel->directory);
    if (channel->queue < 0)
        return refused("msgctl", "the same IPC namespace for both ends");
    return use_system_v(channel);
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
