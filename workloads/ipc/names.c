/*
 * Names of what a mechanism makes: files in the directory, and global names (POSIX shared memory
 * and queues) that follow from the directory's device and inode. A run that was killed leaves
 * nothing that the next one in the same directory does not find and remove.
 */
#define _GNU_SOURCE
#include "ipc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct mechanism *const TABLES[] = {PIPES, QUEUES, MEMORIES, LOCKED_FILE, SOCKETS};

const struct mechanism *mechanism_at(size_t index)
{
    for (size_t table = 0; table < sizeof TABLES / sizeof TABLES[0]; table++)
        for (const struct mechanism *one = TABLES[table]; one->name; one++)
            if (index-- == 0)
                return one;
    return NULL;
}

const struct mechanism *mechanism_named(const char *name)
{
    const struct mechanism *one;
    for (size_t index = 0; (one = mechanism_at(index)); index++)
        if (strcmp(one->name, name) == 0)
            return one;
    return NULL;
}

bool path_in(const char *directory, const char *name, char path[NAME_BYTES])
{
    int bytes = snprintf(path, NAME_BYTES, "%s/%s", directory, name);
    return bytes < NAME_BYTES || went_wrong("a path of %d bytes; a socket's has at most %d: %s/%s",
                                            bytes, NAME_BYTES - 1, directory, name);
}

bool global_name(const char *directory, const char *name, char text[64])
{
    struct stat found;
    if (stat(directory, &found) != 0)
        return refused("stat", "the directory, made beforehand");
    snprintf(text, 64, "/socklab-ipc-%" PRIx64 "-%" PRIx64 "-%s", (uint64_t)found.st_dev,
             (uint64_t)found.st_ino, name);
    return true;
}

void forget_all(const char *directory)
{
    const struct mechanism *one;
    for (size_t index = 0; (one = mechanism_at(index)); index++)
        if (one->forget)
            one->forget(directory);
}
