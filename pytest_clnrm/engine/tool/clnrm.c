/* The one program of ours that runs in containers: it keeps one running, or relays connections into and out of
 * its networks. It is static, needs no C library and no file of an image, and allocates nothing.
 *
 *     clnrm pause         waits for SIGTERM or SIGINT, taking in orphans as an init process does
 *     clnrm relay PORT    relays between its standard streams and TCP (docs/design/relay.md); PORT 0: only out
 *
 * tests/clnrm_testing/tool.py builds it, and `tox -e tool` compares that with what is shipped.
 */

#include "system.h"

/* Keeping a container running. */

enum { SIGINT = 2, SIGTERM = 15, SIGCHLD = 17, WNOHANG = 1, OF_SIGNAL = 128 };

static void __attribute__((noreturn)) pause_here(void) {
    /* Blocked, so that they are waited for: to process 1 they would mean nothing. */
    u64 waited_for = 1ul << (SIGINT - 1) | 1ul << (SIGTERM - 1) | 1ul << (SIGCHLD - 1);
    call(SIGPROCMASK, 0, (word)&waited_for, 0, sizeof waited_for, 0, 0);
    for (;;) {
        word signal;
        while (call(WAIT4, -1, 0, WNOHANG, 0, 0, 0) > 0) {}
        signal = call(SIGTIMEDWAIT, (word)&waited_for, 0, 0, sizeof waited_for, 0, 0);
        if (signal == SIGINT || signal == SIGTERM) leave(OF_SIGNAL + (int)signal);
    }
}

/* Relaying. */

enum {
    AF_INET = 2, SOCK_STREAM = 1, NONBLOCK_CLOEXEC = 04000 | 02000000, IPPROTO_TCP = 6, TCP_NODELAY = 1,
    SOL_SOCKET = 1, SO_REUSEADDR = 2, SO_ERROR = 4, SHUT_WR = 1, MSG_NOSIGNAL = 0x4000, BACKLOG = 128,
    EINTR = 4, EAGAIN = 11, EMFILE = 24, EINPROGRESS = 115,
    POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16,
};

/* A frame is its connection's number (4 bytes), its kind (1), a zero, the size of what follows (2); all numbers
 * have their low byte first. */
enum { HELLO = 0, OPEN = 1, OPENED = 2, FAILED = 3, ACCEPTED = 4, DATA = 5, END = 6, RESET = 7, CREDIT = 8 };
enum {
    HEAD = 8,
    PIECE = 16384,  /* of data in a frame, at most */
    WINDOW = 32768, /* of one connection on the way in one direction, at most */
    CONNECTIONS = 128,
    VERSION = 1,
};

struct address {
    u16 family;
    u8 port[2], host[4], zero[8];
};

struct poll {
    int fd;
    short wanted, found;
};

/* wanted_in: bytes that the other side has room for. `ring` holds what is to be written to the socket. */
struct connection {
    int fd;
    u32 id, wanted_in, first, filled, written;
    u8 used, connecting, ended_in, ended_out, shut;
    u8 ring[WINDOW];
};

static struct connection connections[CONNECTIONS];
static struct poll polls[CONNECTIONS + 2];
static u8 input[4 * (HEAD + PIECE)];
static u8 output[HEAD + PIECE];
static u32 next_id = 1;

static u32 number(const u8 *at, int bytes) {
    u32 found = 0;
    while (bytes--) found = found << 8 | at[bytes];
    return found;
}

static void put(u8 *at, u32 value, int bytes) {
    for (; bytes--; value >>= 8) *at++ = (u8)value;
}

/* Send the frame whose payload is in `output` already. The other side always reads: this does not wait long. */
static void send_frame(u32 id, u8 kind, u32 size) {
    put(output, id, 4);
    output[4] = kind;
    output[5] = 0;
    put(output + 6, size, 2);
    for (u32 at = 0; at < HEAD + size;) {
        word written = call(WRITE, 1, (word)(output + at), HEAD + size - at, 0, 0, 0);
        if (written == -EINTR) continue;
        if (written <= 0) leave(0);
        at += (u32)written;
    }
}

static void send_number(u32 id, u8 kind, u32 value) {
    put(output + HEAD, value, 4);
    send_frame(id, kind, 4);
}

static void forget(struct connection *it) {
    call(CLOSE, it->fd, 0, 0, 0, 0, 0);
    it->used = 0;
}

static void reset(struct connection *it) {
    send_frame(it->id, RESET, 0);
    forget(it);
}

static struct connection *free_one(void) {
    for (int at = 0; at < CONNECTIONS; at++)
        if (!connections[at].used) return &connections[at];
    return 0;
}

static struct connection *find(u32 id) {
    for (int at = 0; at < CONNECTIONS; at++)
        if (connections[at].used && connections[at].id == id) return &connections[at];
    return 0;
}

static void take(struct connection *it, u32 id, int fd) {
    u32 on = 1;
    call(SETSOCKOPT, fd, IPPROTO_TCP, TCP_NODELAY, (word)&on, sizeof on, 0);
    it->fd = fd;
    it->id = id;
    it->wanted_in = WINDOW;
    it->first = it->filled = it->written = 0;
    it->connecting = it->ended_in = it->ended_out = it->shut = 0;
    it->used = 1;
}

static void open_one(u32 id, const u8 *host_and_port) {
    struct connection *it = free_one();
    struct address to = {.family = AF_INET};
    word fd = it ? call(SOCKET, AF_INET, SOCK_STREAM | NONBLOCK_CLOEXEC, 0, 0, 0, 0) : -EMFILE;
    word result;
    if (fd < 0) {
        send_number(id, FAILED, (u32)-fd);
        return;
    }
    memcpy(to.host, host_and_port, 4);
    memcpy(to.port, host_and_port + 4, 2);
    take(it, id, (int)fd);
    result = call(CONNECT, fd, (word)&to, sizeof to, 0, 0, 0);
    if (!result) {
        send_frame(id, OPENED, 0);
    } else if (result == -EINPROGRESS) {
        it->connecting = 1;
    } else {
        send_number(id, FAILED, (u32)-result);
        forget(it);
    }
}

static void accept_one(int listener) {
    struct connection *it = free_one();
    struct address from;
    u32 size = sizeof from;
    word fd = call(ACCEPT4, listener, (word)&from, (word)&size, NONBLOCK_CLOEXEC, 0, 0);
    if (fd < 0) return;
    take(it, next_id, (int)fd);
    /* Odd ones are ours, even ones the other side's. */
    next_id += 2;
    memcpy(output + HEAD, from.host, 4);
    memcpy(output + HEAD + 4, from.port, 2);
    send_frame(it->id, ACCEPTED, 6);
}

static void finish_if_ended(struct connection *it) {
    if (it->ended_out && !it->filled && !it->shut) {
        call(SHUTDOWN, it->fd, SHUT_WR, 0, 0, 0, 0);
        it->shut = 1;
    }
    if (it->shut && it->ended_in) forget(it);
}

static void write_some(struct connection *it) {
    while (it->filled) {
        u32 size = WINDOW - it->first < it->filled ? WINDOW - it->first : it->filled;
        word sent = call(SENDTO, it->fd, (word)(it->ring + it->first), size, MSG_NOSIGNAL, 0, 0);
        if (sent == -EAGAIN || sent == -EINTR) break;
        if (sent <= 0) {
            reset(it);
            return;
        }
        it->first = (it->first + (u32)sent) % WINDOW;
        it->filled -= (u32)sent;
        it->written += (u32)sent;
    }
    if (it->written >= WINDOW / 2 || (it->written && !it->filled)) {
        send_number(it->id, CREDIT, it->written);
        it->written = 0;
    }
    finish_if_ended(it);
}

static void read_some(struct connection *it) {
    u32 size = it->wanted_in < PIECE ? it->wanted_in : PIECE;
    word got = call(RECVFROM, it->fd, (word)(output + HEAD), size, 0, 0, 0);
    if (got == -EAGAIN || got == -EINTR) return;
    if (got < 0) {
        reset(it);
    } else if (!got) {
        it->ended_in = 1;
        send_frame(it->id, END, 0);
        finish_if_ended(it);
    } else {
        it->wanted_in -= (u32)got;
        send_frame(it->id, DATA, (u32)got);
    }
}

static void connected(struct connection *it) {
    u32 error = 0, size = sizeof error;
    call(GETSOCKOPT, it->fd, SOL_SOCKET, SO_ERROR, (word)&error, (word)&size, 0);
    if (error) {
        send_number(it->id, FAILED, error);
        forget(it);
    } else {
        it->connecting = 0;
        send_frame(it->id, OPENED, 0);
    }
}

static void obey(u32 id, u8 kind, const u8 *payload, u32 size) {
    struct connection *it = find(id);
    if (kind == OPEN && size == 6 && !it) {
        open_one(id, payload);
    } else if (!it) {
        /* It was given up on this side while the frame was on its way. */
    } else if (kind == DATA && size <= WINDOW - it->filled && !it->ended_out) {
        for (u32 at = 0; at < size; at++) it->ring[(it->first + it->filled + at) % WINDOW] = payload[at];
        it->filled += size;
        write_some(it);
    } else if (kind == END) {
        it->ended_out = 1;
        finish_if_ended(it);
    } else if (kind == CREDIT && size == 4) {
        it->wanted_in += number(payload, 4);
    } else if (kind == RESET) {
        forget(it);
    } else {
        reset(it);
    }
}

static void read_frames(void) {
    static u32 filled;
    u32 at = 0;
    word got = call(READ, 0, (word)(input + filled), sizeof input - filled, 0, 0, 0);
    if (got == -EINTR) return;
    if (got <= 0) leave(0);
    filled += (u32)got;
    while (filled - at >= HEAD) {
        u32 size = number(input + at + 6, 2);
        if (size > PIECE) fail("clnrm: a frame that is too long\n");
        if (filled - at < HEAD + size) break;
        obey(number(input + at, 4), input[at + 4], input + at + HEAD, size);
        at += HEAD + size;
    }
    for (u32 left = 0; at + left < filled; left++) input[left] = input[at + left];
    filled -= at;
}

static int listen_on(u32 port) {
    struct address own = {.family = AF_INET, .port = {(u8)(port >> 8), (u8)port}};
    u32 on = 1;
    word fd = call(SOCKET, AF_INET, SOCK_STREAM | NONBLOCK_CLOEXEC, 0, 0, 0, 0);
    if (fd < 0) fail("clnrm: no socket can be had\n");
    call(SETSOCKOPT, fd, SOL_SOCKET, SO_REUSEADDR, (word)&on, sizeof on, 0);
    if (call(BIND, fd, (word)&own, sizeof own, 0, 0, 0) < 0) fail("clnrm: the port cannot be had\n");
    if (call(LISTEN, fd, BACKLOG, 0, 0, 0, 0) < 0) fail("clnrm: the port cannot be listened on\n");
    return (int)fd;
}

static void want(struct poll *poll, int fd, int wanted) {
    /* A negative one is passed over: an end that nobody wants to hear of now would be told for ever. */
    poll->fd = wanted ? fd : -1;
    poll->wanted = (short)wanted;
    poll->found = 0;
}

static void __attribute__((noreturn)) relay(u32 port) {
    int listener = port ? listen_on(port) : -1;
    send_number(0, HELLO, VERSION);
    for (;;) {
        want(&polls[0], 0, POLLIN);
        want(&polls[1], listener, port && free_one() ? POLLIN : 0);
        for (int at = 0; at < CONNECTIONS; at++) {
            struct connection *it = &connections[at];
            int in = it->used && !it->connecting && !it->ended_in && it->wanted_in ? POLLIN : 0;
            int out = it->used && (it->connecting || it->filled) ? POLLOUT : 0;
            want(&polls[at + 2], it->fd, in | out);
        }
        if (call(PPOLL, (word)polls, CONNECTIONS + 2, 0, 0, 8, 0) < 0) continue;
        for (int at = 0; at < CONNECTIONS; at++) {
            struct connection *it = &connections[at];
            short found = polls[at + 2].found, wanted = polls[at + 2].wanted;
            if (!found || !it->used) continue;
            if (it->connecting) {
                connected(it);
                continue;
            }
            if (found & (POLLIN | POLLERR | POLLHUP) && wanted & POLLIN) read_some(it);
            if (it->used && found & (POLLOUT | POLLERR | POLLHUP) && wanted & POLLOUT) write_some(it);
        }
        /* Last: what a frame opens anew was not polled for. */
        if (polls[1].found) accept_one(listener);
        if (polls[0].found) read_frames();
    }
}

static int same(const char *one, const char *other) {
    while (*one && *one == *other) one++, other++;
    return *one == *other;
}

void __attribute__((noreturn, used)) begin(word *stack) {
    word count = stack[0];
    char **arguments = (char **)(stack + 1);
    if (count == 2 && same(arguments[1], "pause")) pause_here();
    if (count == 3 && same(arguments[1], "relay")) {
        u32 port = 0;
        for (const char *at = arguments[2]; *at >= '0' && *at <= '9'; at++) port = port * 10 + (u32)(*at - '0');
        relay(port);
    }
    fail("usage: clnrm pause | clnrm relay PORT\n");
}
