/*
 * A user namespace of this end's own, as unshare(1) with --map-current-user makes one: its user is
 * who it is outside, alone, and has no more rights. Made here, a refusal is told as any other.
 */
#define _GNU_SOURCE
#include "ipc.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool put(const char *path, const char *text)
{
    ssize_t bytes = (ssize_t)strlen(text);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool well = fd >= 0 && write(fd, text, (size_t)bytes) == bytes;
    if (!well)
        refused(path, "kernel.apparmor_restrict_unprivileged_userns=0, and CAP_SETFCAP for root");
    if (fd >= 0)
        close(fd);
    return well;
}

/* Whoever makes a namespace has every right in it; a program that is started there has not. */
static bool without_rights(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capset, &head, none) == 0 || refused("capset", NULL);
}

bool user_namespace(void)
{
    char user[64], group[64];
    snprintf(user, sizeof user, "%u %u 1", geteuid(), geteuid());
    snprintf(group, sizeof group, "%u %u 1", getegid(), getegid());
    if (unshare(CLONE_NEWUSER) != 0)
        return refused("unshare",
                       "user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 where "
                       "there is one, and a seccomp profile that allows unshare");
    /* Without "deny" nobody without rights outside may map a group. */
    return put("/proc/self/uid_map", user) && put("/proc/self/setgroups", "deny") &&
           put("/proc/self/gid_map", group) && without_rights();
}
