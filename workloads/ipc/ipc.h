/*
 * What the parts of ipc share. README of the program: main.c.
 *
 * A mechanism is a way for two processes to talk. It is opened in three steps, so that
 * both ends may be in containers of their own: the serving end prepares what the other will open,
 * the measuring end opens it, the serving end completes. In between they talk over the meeting, a
 * Unix socket in a directory that both see; descriptors that have no name are passed over it. Where
 * a network is between them, the meeting is a TCP connection. No measured byte passes it.
 */
#ifndef IPC_H
#define IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IPC_VERSION "1.3.0"

enum {
    MEASURED = 0, /* exit codes */
    FAILED = 1,
    USAGE = 2,
    UNAVAILABLE = 3,
    NAME_BYTES = 108, /* of a socket's path, its end included: sizeof sun_path */
    MOST_PASSED = 4,
    MOST_BYTES = 1 << 20,
    HEADROOM = 64,
    RING_BYTES = 1 << 16, /* as much as a pipe holds, so that both buffer alike */
};

enum role { SERVES, MEASURES };
enum mode { LATENCY, THROUGHPUT, CONNECT };

struct channel;

struct mechanism {
    const char *name;
    const char *shares; /* what two containers must share beside the directory: "", ipc, network */
    bool connects;      /* has connections that can be made one after another */
    bool loses;         /* may lose messages */
    int family, type;   /* of sockets */
    bool abstract;      /* a name that is no file */
    bool spins;         /* of shared memory: never sleeps */
    bool travels;       /* works over a network, too */

    bool (*prepare)(struct channel *); /* serving end */
    bool (*open)(struct channel *);    /* measuring end */
    bool (*complete)(struct channel *); /* serving end; may be NULL */

    /* One message of so many bytes, whole. The buffer holds MOST_BYTES, with HEADROOM bytes before
       it, and is the mechanism's to write where nothing of the message is. */
    bool (*send)(struct channel *, uint8_t *, size_t);
    bool (*receive)(struct channel *, uint8_t *, size_t);

    void (*forget)(const char *directory); /* removes its names; may be NULL */
};

struct ring;

/* One end of an opened mechanism. Descriptors are -1 where it has none. */
struct channel {
    const struct mechanism *mechanism;
    enum role role;
    const char *directory; /* or the place of a meeting over a network */
    bool far;              /* a network is between the ends */
    int in, out, listener;
    int passed[MOST_PASSED], passed_count;
    bool keeps_passed;  /* after they were passed */
    struct ring *rings; /* two, in shared memory: to the serving end, to the measuring end */
    int queue;          /* of System V */
    long kind[2];       /* of its messages: received, sent */
    uint32_t port, peer_port;
    size_t limit;       /* bytes that a message may have at most; 0: as many as one likes */
    const char *limit_is;
    int pipe_bytes[2];  /* what the pipes hold, to the other end and from it; 0: there are none */
};

/* What went wrong first. `allow` says what would make it possible; NULL where nothing is known. */
struct trouble {
    const char *call, *allow;
    int number;      /* errno; 0 where it is none of the kernel's */
    char text[160];
};

extern struct trouble trouble;

/* Each notes what went wrong and returns false. */
bool refused(const char *call, const char *allow); /* by the kernel: errno says why */
bool went_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* mechanism tables: pipes.c, sockets.c, queues.c, memory.c, locked.c; each ends with a NULL name */
extern const struct mechanism PIPES[], SOCKETS[], QUEUES[], MEMORIES[], LOCKED_FILE[];

const struct mechanism *mechanism_named(const char *name);
const struct mechanism *mechanism_at(size_t index); /* NULL after the last */

/* names.c: every name follows from the directory, so that it is found again after a kill */
bool path_in(const char *directory, const char *name, char path[NAME_BYTES]);
bool global_name(const char *directory, const char *name, char text[64]);
void forget_all(const char *directory);

/* channel.c */
void channel_init(struct channel *, const struct mechanism *, enum role, const char *directory);
void channel_close(struct channel *, bool forgets); /* the names, too */
bool write_whole(int fd, const uint8_t *, size_t);
bool read_whole(int fd, uint8_t *, size_t);
bool send_bytes(struct channel *, uint8_t *, size_t); /* of mechanisms that carry bytes, */
bool receive_bytes(struct channel *, uint8_t *, size_t); /* not messages */
void memory_close(struct channel *); /* memory.c */

/* meeting.c: the two ends' control socket, and the patience of every wait */
enum word { HELLO, READY, OPENED, CELL, DONE, REPORT, NO, BYE, ANY };

struct letter {
    uint32_t magic, word;
    uint32_t mechanism, mode;
    uint64_t bytes, time_ns;      /* of a cell */
    uint64_t count;               /* DONE, REPORT */
    uint64_t ns, cpu_ns, switches; /* REPORT */
    uint64_t port;                /* READY, OPENED */
    int64_t number;               /* NO: a trouble */
    char call[32], text[160];
};

struct sockaddr_in;
bool place_far(const char *place, struct sockaddr_in *address); /* tcp:ADDRESS:PORT, no directory */
bool meeting_listen(const char *place, int *fd);
bool meeting_accept(int listener, int *fd);
bool meeting_join(const char *place, int *fd);
void meeting_forget(const char *place);
void signals_begin(void);
bool told_to_stop(void); /* by SIGTERM or SIGINT */
void meeting_begin(int fd);
void meeting_refuse(void);
bool meeting_send(struct letter *, const int *passed, int passed_count);
bool meeting_receive(struct letter *, enum word expected, int *passed, int *passed_count);
bool meeting_waits(void); /* is there a letter, or an end? */
void patience_begin(uint64_t time_ns);
void patience_end(void);
bool go_on(void);      /* after a wait that was interrupted: false where it is of no use */
bool ticked(void);     /* for loops whose calls need not wait, and are not interrupted then */

/* namespace.c */
bool user_namespace(void);

/* histogram.c */
struct histogram;
struct histogram *histogram_new(void);
void histogram_clear(struct histogram *);
void histogram_add(struct histogram *, uint64_t ns);
void histogram_print(const struct histogram *); /* [[ns,count],...] with the least and the most */

/* cells.c */
struct cell {
    enum mode mode;
    size_t bytes;
    uint64_t time_ns;
};

/* What one end saw of a cell. */
struct seen {
    uint64_t count, lost, ns, cpu_ns, switches;
};

uint64_t now_ns(void);
uint64_t clock_overhead_ns(void);
bool cell_measure(struct channel *, const struct cell *, struct histogram *, struct seen *);
bool cell_serve(struct channel *, const struct cell *, int meeting, struct seen *);
bool connect_once(struct channel *, uint64_t *ns); /* sockets.c */
bool accept_once(struct channel *);                /* sockets.c */

#endif
