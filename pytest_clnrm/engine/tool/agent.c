/* Runs steps in a pod: one exec of a cluster, kept open, takes commands on its standard input and tells of them on
 * its standard output. It is static, needs no C library, no shell and no file of an image, and allocates nothing.
 *
 *     agent steps FOLDER           runs steps; FOLDER keeps a journal of each (docs/design/cluster.md)
 *     agent watch FOLDER SECONDS   ends once nothing has beaten for so long
 *     agent append FILE TEXT       adds to a file that is there: names to one of hosts
 *     agent beat FOLDER            beats once for each byte of its standard input
 *
 * A frame is its kind (1 byte) and the size of what follows (4 bytes, the low one first). Taken:
 *     R  run: the step's number (8), sizes of the argument, variable counts (4 each), whether there is input (1);
 *        then texts, each ended by a zero: user, folder, arguments, variables
 *     I  input of the step (nothing: its end)     K  kill the step of this number     D  delete its journal
 *     J  tell of the step of this number (8) from this byte of its journal on (8)
 * Told: H hello, O and E what the step said, W so much input is wanted, Z its end (code, flags, stage, error; 4
 * each), L nothing more is known of the step, and why. O, E and Z are in the journal as they are told.
 */

#include "system.h"

enum {
    SIGHUP = 1, SIGKILL = 9, SIGPIPE = 13, SIGTERM = 15, SIGCHLD = 17,
    WNOHANG = 1, EINTR = 4, ENOENT = 2, EACCES = 13, EAGAIN = 11, E2BIG = 7, EPERM = 1, ESRCH = 3,
    AT_CWD = -100, RDONLY = 0, RDWR = 2, CREAT = 0100, TRUNC = 01000, NONBLOCK = 04000, CLOEXEC = 02000000,
    LOCK_EX = 2, LOCK_NB = 4, LOCK_UN = 8, SEEK_END = 2, PR_SET_CHILD_SUBREAPER = 36,
    POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16,
};
enum {
    FRAME = 5,
    PIECE = 16384,
    REQUEST = 2 << 20,    /* of a step, at most: what Linux takes as arguments and variables */
    TEXTS = 65536,        /* arguments and variables of a step, at most */
    HEADER = 16,          /* of a journal: how many bytes it has lost, process of the step */
    KEPT = 16 << 20,      /* of a journal; more is forgotten once it was told */
    UNTOLD = 4 << 20,     /* of a journal; then the step has to wait */
    OF_SIGNAL = 128,
};
enum { STARTED = 1, OUT_OF_MEMORY = 2, KILLED = 4, LEFT = 8 };
enum { IN_USER = 1, IN_FOLDER = 2, IN_PROGRAM = 3, IN_FORK = 4 };

struct poll {
    int fd;
    short wanted, found;
};

static u8 request[REQUEST + 1], piece[FRAME + PIECE], input[PIECE], table[65536], path[4096];
static char *arguments[TEXTS], *variables[TEXTS], home[4096];
static char **own_variables;

static u64 length(const char *text) {
    u64 size = 0;
    while (text[size]) size++;
    return size;
}

static int same(const char *one, const char *other) {
    while (*one && *one == *other) one++, other++;
    return *one == *other;
}

static u64 number(const u8 *at, int bytes) {
    u64 found = 0;
    while (bytes--) found = found << 8 | at[bytes];
    return found;
}

static void put(u8 *at, u64 value, int bytes) {
    for (; bytes--; value >>= 8) *at++ = (u8)value;
}

/* Read it all, waiting; 0 at the end of the stream. */
static int take(u8 *to, u64 size) {
    for (u64 at = 0; at < size;) {
        word got = call(READ, 0, (word)(to + at), (word)(size - at), 0, 0, 0);
        if (got == -EINTR) continue;
        if (got <= 0) return 0;
        at += (u64)got;
    }
    return 1;
}

static void tell(u8 kind, const u8 *what, u32 size) {
    u8 frame[FRAME + 32];
    frame[0] = kind;
    put(frame + 1, size, 4);
    memcpy(frame + FRAME, what, size);
    for (u32 at = 0; at < FRAME + size;) {
        word written = call(WRITE, 1, (word)(frame + at), FRAME + size - at, 0, 0, 0);
        if (written == -EINTR) continue;
        if (written == -EAGAIN) {
            struct poll room = {1, POLLOUT, 0};
            call(PPOLL, (word)&room, 1, 0, 0, 8, 0);
            continue;
        }
        if (written <= 0) return;
        at += (u32)written;
    }
}

static void rest_ms(long ms) {
    long until[2] = {ms / 1000, ms % 1000 * 1000000};
    call(PPOLL, 0, 0, (word)until, 0, 8, 0);
}

static void on_signal(int which, u64 action) {
    u64 handler[4] = {action, 0, 0, 0}; /* 0 is what it does by itself, 1 nothing */
    call(SIGACTION, which, (word)handler, 0, 8, 0, 0);
}

/* Return a text of decimal digits as a number, -1 if it is none. */
static word decimal(const char *text, char end) {
    word value = 0;
    if (*text < '0' || *text > '9') return -1;
    for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + (*text - '0');
    return *text == end || !*text ? value : -1;
}

static word read_file(const char *name, u8 *to, u64 room) {
    word fd = call(OPENAT, AT_CWD, (word)name, RDONLY | CLOEXEC, 0, 0, 0), size = 0, got;
    if (fd < 0) return fd;
    while ((u64)size < room - 1 && (got = call(READ, fd, (word)(to + size), (word)(room - 1 - (u64)size), 0, 0, 0)) > 0)
        size += got;
    call(CLOSE, fd, 0, 0, 0, 0, 0);
    to[size] = 0;
    return size;
}

static const char *journal_name(const char *folder, u64 step) {
    char *at = (char *)path;
    u64 size = length(folder);
    if (size > 4000) leave(1);
    memcpy(at, folder, size);
    at += size;
    *at++ = '/';
    for (int shift = 60; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[step >> shift & 15];
    *at = 0;
    return (const char *)path;
}

/* Memory: how many processes of this container were killed for it, as its cgroup counts. */

static word memory_kills(void) {
    static const char *files[] = {"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"};
    for (int which = 0; which < 2; which++) {
        word size = read_file(files[which], table, sizeof table);
        for (word at = 0; at + 9 < size; at++) {
            const char *line = (const char *)table + at, *name = "oom_kill ";
            if (at && line[-1] != '\n') continue;
            while (*name && *line == *name) line++, name++;
            if (!*name) return decimal(line, '\n');
        }
    }
    return 0;
}

/* Users, by number or name, as /etc/passwd and /etc/group of the image have them. */

/* Return the field of a line, of which there are so many before it; its end becomes a zero. */
static char *field(char *line, int which) {
    char *start = line;
    for (; which; which--) {
        while (*start && *start != ':') start++;
        if (*start) start++;
    }
    return start;
}

static char *cut(char *text, char end) {
    char *at = text;
    while (*at && *at != end) at++;
    if (!*at) return 0;
    *at = 0;
    return at + 1;
}

static int starts(const char *text, const char *with, char end) {
    while (*with && *text == *with) text++, with++;
    return !*with && *text == end;
}

static word become(char *user) {
    static u32 groups[256];
    char *group = 0, *name = 0;
    word uid = -1, gid = -1, count = 0, error;
    for (char *at = user; *at; at++)
        if (*at == ':') {
            *at = 0;
            group = at + 1;
            break;
        }
    uid = decimal(user, 0);
    home[0] = 0;
    if (read_file("/etc/passwd", table, sizeof table) > 0) {
        for (char *line = (char *)table, *next; line && *line; line = next) {
            next = cut(line, '\n');
            if (!(uid >= 0 ? decimal(field(line, 2), ':') == uid : starts(line, user, ':'))) continue;
            uid = decimal(field(line, 2), ':');
            gid = decimal(field(line, 3), ':');
            memcpy(home, "HOME=", 5);
            char *from = field(line, 5);
            u64 size = 0;
            while (from[size] && from[size] != ':' && size < sizeof home - 6) home[5 + size] = from[size], size++;
            home[5 + size] = 0;
            cut(line, ':');
            name = line;
            break;
        }
    }
    if (uid < 0) return -ENOENT;
    if (gid < 0) gid = 0;
    if (name) {
        /* It lies in the table, which is read anew. */
        u64 size = length(name) + 1;
        if (size > 256) return -E2BIG;
        memcpy(path, name, size);
        name = (char *)path;
    }
    if (read_file("/etc/group", table, sizeof table) > 0) {
        word wanted = group ? decimal(group, 0) : -1;
        if (group && wanted < 0) gid = -1;
        if (wanted >= 0) gid = wanted;
        for (char *line = (char *)table, *next; line && *line; line = next) {
            next = cut(line, '\n');
            word id = decimal(field(line, 2), ':');
            if (group && wanted < 0 && starts(line, group, ':')) gid = id;
            if (group || !name || id < 0) continue;
            for (char *member = field(line, 3); *member;) {
                if ((starts(member, name, ',') || starts(member, name, 0)) && count < 256) groups[count++] = (u32)id;
                while (*member && *member != ',') member++;
                if (*member) member++;
            }
        }
    } else if (group) {
        gid = decimal(group, 0);
    }
    if (gid < 0) return -ENOENT;
    if ((error = call(SETGROUPS, count, (word)groups, 0, 0, 0, 0)) < 0) return error;
    if ((error = call(SETGID, gid, 0, 0, 0, 0, 0)) < 0) return error;
    return call(SETUID, uid, 0, 0, 0, 0, 0);
}

/* Processes: all below this one, whatever they did with their sessions. */

static word parent_of(word process) {
    char name[32] = "/proc/", digits[20];
    u8 stat[512];
    int at = 6, count = 0;
    for (word left = process; left || !count; left /= 10) digits[count++] = (char)('0' + left % 10);
    while (count) name[at++] = digits[--count];
    memcpy(name + at, "/stat", 6);
    word size = read_file(name, stat, sizeof stat);
    while (size > 0 && stat[size - 1] != ')') size--;
    if (size <= 0) return 0;
    /* What has ended, and is only to be reaped, needs no end. */
    if (stat[size + 1] == 'Z') return 0;
    word parent = decimal((char *)stat + size + 3, ' ');
    return parent < 0 ? 0 : parent;
}

/* Kill what is below this process, and tell how many that were; *refused* counts those that may not be. */
static int kill_below(word own, int *refused) {
    word folder = call(OPENAT, AT_CWD, (word) "/proc", RDONLY | CLOEXEC, 0, 0, 0), size;
    int killed = 0;
    *refused = 0;
    if (folder < 0) return 0;
    while ((size = call(GETDENTS, folder, (word)input, sizeof input, 0, 0, 0)) > 0) {
        for (word at = 0; at < size; at += (word)number(input + at + 16, 2)) {
            word process = decimal((char *)input + at + 19, 0), above = process;
            if (process <= 1 || process == own) continue;
            for (int depth = 0; depth < 4096 && above > 1 && above != own; depth++) above = parent_of(above);
            if (above != own) continue;
            if (call(KILL, process, SIGKILL, 0, 0, 0, 0) == -EPERM)
                ++*refused;
            else
                killed++;
        }
    }
    call(CLOSE, folder, 0, 0, 0, 0, 0);
    return killed;
}

/* A step. */

struct step {
    u64 id;
    int journal, told_ok;
    u64 lost, size, told; /* bytes of the journal: forgotten, there (with those), told (with those) */
};

static void note(struct step *it, u8 kind, const u8 *what, u32 size) {
    u8 frame[FRAME];
    if ((it->told == it->size || !it->told_ok) && it->size - it->lost > KEPT) {
        it->told = it->size;
        call(FTRUNCATE, it->journal, HEADER, 0, 0, 0, 0);
        it->lost = it->size;
        put(frame, it->lost, 4);
        u8 whole[8];
        put(whole, it->lost, 8);
        call(PWRITE, it->journal, (word)whole, 8, 0, 0, 0);
    }
    frame[0] = kind;
    put(frame + 1, size, 4);
    u64 at = HEADER + it->size - it->lost;
    call(PWRITE, it->journal, (word)frame, FRAME, (word)at, 0, 0);
    for (u32 done = 0; done < size;) {
        word wrote = call(PWRITE, it->journal, (word)(what + done), size - done, (word)(at + FRAME + done), 0, 0);
        if (wrote == -EINTR) continue;
        if (wrote <= 0) leave(70); /* The disk is full: what is not in the journal is not told either. */
        done += (u32)wrote;
    }
    it->size += FRAME + size;
}

/* Tell what the journal has and was not told, as far as there is room. */
static void pass_on(struct step *it) {
    while (it->told_ok && it->told < it->size) {
        word got = call(PREAD, it->journal, (word)piece, sizeof piece, (word)(HEADER + it->told - it->lost), 0, 0);
        if (got <= 0) return;
        word written = call(WRITE, 1, (word)piece, got, 0, 0, 0);
        if (written == -EAGAIN || written == -EINTR) return;
        if (written <= 0) {
            it->told_ok = 0;
            return;
        }
        it->told += (u64)written;
    }
}

/* Read what a pipe of the step holds; 0 at its end, 1 if there may be more, -1 if not now. */
static int hear(struct step *it, int fd, u8 kind) {
    word got = call(READ, fd, (word)input, sizeof input, 0, 0, 0);
    if (got == -EINTR) return 1;
    if (got == -EAGAIN) return -1;
    if (got <= 0) return 0;
    note(it, kind, input, (u32)got);
    return 1;
}

static void __attribute__((noreturn)) end_step(struct step *it, u32 code, u32 flags, u32 stage, u32 error) {
    u8 end[16];
    put(end, code, 4);
    put(end + 4, flags, 4);
    put(end + 8, stage, 4);
    put(end + 12, error, 4);
    note(it, 'Z', end, sizeof end);
    while (it->told_ok && it->told < it->size) {
        struct poll room = {1, POLLOUT, 0};
        call(PPOLL, (word)&room, 1, 0, 0, 8, 0);
        pass_on(it);
    }
    leave(0);
}

static void __attribute__((noreturn)) fail_child(int to, u8 stage, word error) {
    u8 what[5];
    what[0] = stage;
    put(what + 1, (u64)-error, 4);
    call(WRITE, to, (word)what, 5, 0, 0, 0);
    leave(127);
}

static const char *value_of(char **of, const char *name) {
    for (; *of; of++)
        if (starts(*of, name, '=')) return *of + length(name) + 1;
    return 0;
}

static void __attribute__((noreturn)) start_program(int to, char *user, const char *folder) {
    word error = 0;
    u64 none = 0;
    for (int which = 1; which < 65; which++) on_signal(which, 0);
    call(SIGPROCMASK, 2, (word)&none, 0, 8, 0, 0);
    call(SETSID, 0, 0, 0, 0, 0, 0);
    if (*user && (error = become(user)) < 0) fail_child(to, IN_USER, error);
    if (*folder && (error = call(CHDIR, (word)folder, 0, 0, 0, 0, 0)) < 0) fail_child(to, IN_FOLDER, error);
    int count = 0;
    while (variables[count]) count++;
    if (*user && home[0] && !value_of(variables, "HOME")) variables[count++] = home;
    int given = count;
    for (char **own = own_variables; *own && count < TEXTS - 1; own++) {
        int replaced = 0;
        for (int at = 0; at < given && !replaced; at++) {
            const char *one = *own, *other = variables[at];
            while (*one && *one != '=' && *one == *other) one++, other++;
            replaced = *one == '=' && *other == '=';
        }
        if (!replaced) variables[count++] = *own;
    }
    variables[count] = 0;
    const char *name = arguments[0];
    for (const char *at = name; *at; at++)
        if (*at == '/') {
            fail_child(to, IN_PROGRAM, call(EXECVE, (word)name, (word)arguments, (word)variables, 0, 0, 0));
        }
    const char *paths = value_of(variables, "PATH");
    if (!paths) paths = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    word kept = -ENOENT;
    while (*name && *paths) {
        u64 size = 0, rest = length(name) + 1;
        while (paths[size] && paths[size] != ':') size++;
        if (size && size + rest + 1 < sizeof path) {
            memcpy(path, paths, size);
            path[size] = '/';
            memcpy(path + size + 1, name, rest);
            error = call(EXECVE, (word)path, (word)arguments, (word)variables, 0, 0, 0);
            if (error != -ENOENT && error != -20) kept = error;
        }
        paths += size;
        if (*paths) paths++;
    }
    fail_child(to, IN_PROGRAM, kept);
}

static word fork_here(void) { return call(CLONE, SIGCHLD, 0, 0, 0, 0, 0); }

static void both(int pair[2], int flags) {
    if (call(PIPE2, (word)pair, flags, 0, 0, 0, 0) < 0) leave(71);
}

static void unblock(int fd) {
    /* fcntl: F_SETFL. */
#if defined(__x86_64__)
    call(72, fd, 4, NONBLOCK, 0, 0, 0);
#else
    call(25, fd, 4, NONBLOCK, 0, 0, 0);
#endif
}

static void block(int fd) {
#if defined(__x86_64__)
    call(72, fd, 4, 0, 0, 0, 0);
#else
    call(25, fd, 4, 0, 0, 0, 0);
#endif
}

/* In a process of its own: run the step, note and tell what it says, and how it ends. */
static void __attribute__((noreturn)) run_step(u64 id, int journal, char *user, const char *folder, int has_input) {
    struct step it = {.id = id, .journal = journal, .told_ok = 1};
    int out[2], err[2], in[2] = {-1, -1}, problem[2];
    u8 told[5];
    word own = call(GETPID, 0, 0, 0, 0, 0, 0), kills = memory_kills();
    u64 waited_for = 1ul << (SIGCHLD - 1) | 1ul << (SIGTERM - 1);
    put(told, (u64)own, 4);
    call(PWRITE, journal, (word)told, 4, 8, 0, 0);
    call(SIGPROCMASK, 0, (word)&waited_for, 0, 8, 0, 0);
    call(PRCTL, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, 0);
    both(out, CLOEXEC);
    both(err, CLOEXEC);
    both(problem, CLOEXEC);
    if (has_input) both(in, CLOEXEC);
    word child = fork_here();
    if (child < 0) end_step(&it, 0, 0, IN_FORK, (u32)-child);
    if (!child) {
        word null = has_input ? in[0] : call(OPENAT, AT_CWD, (word) "/dev/null", RDONLY | CLOEXEC, 0, 0, 0);
        call(DUP3, null, 0, 0, 0, 0, 0);
        call(DUP3, out[1], 1, 0, 0, 0, 0);
        call(DUP3, err[1], 2, 0, 0, 0, 0);
        start_program(problem[1], user, folder);
    }
    call(CLOSE, out[1], 0, 0, 0, 0, 0);
    call(CLOSE, err[1], 0, 0, 0, 0, 0);
    call(CLOSE, problem[1], 0, 0, 0, 0, 0);
    if (has_input) call(CLOSE, in[0], 0, 0, 0, 0, 0);
    if (call(READ, problem[0], (word)told, 5, 0, 0, 0) == 5) end_step(&it, 0, 0, told[0], (u32)number(told + 1, 4));
    call(CLOSE, problem[0], 0, 0, 0, 0, 0);
    unblock(out[0]);
    unblock(err[0]);
    unblock(1);
    int signals = (int)call(SIGNALFD, -1, (word)&waited_for, 8, CLOEXEC | NONBLOCK, 0, 0);
    int commands = 1, ended = 0, killed = 0, refused = 0, wanted = 0, status = 0;
    u32 at = 0, filled = 0;
    static u8 buffer[PIECE];
    if (has_input) unblock(in[1]);
    while (!ended) {
        if (in[1] >= 0 && at == filled && !wanted && commands) {
            u8 credit[4];
            put(credit, PIECE, 4);
            /* In the order of the stream: all that was noted has to be told whole before. */
            while (it.told_ok && it.told < it.size) {
                struct poll room = {1, POLLOUT, 0};
                call(PPOLL, (word)&room, 1, 0, 0, 8, 0);
                pass_on(&it);
            }
            if (it.told_ok) tell('W', credit, 4);
            wanted = 1;
        }
        int full = it.told_ok && it.size - it.told > UNTOLD;
        struct poll polls[6] = {
            {commands ? 0 : -1, POLLIN, 0},
            {full ? -1 : out[0], POLLIN, 0},
            {full ? -1 : err[0], POLLIN, 0},
            {at < filled ? in[1] : -1, POLLOUT, 0},
            {it.told_ok && it.told < it.size ? 1 : -1, POLLOUT, 0},
            {signals, POLLIN, 0},
        };
        if (call(PPOLL, (word)polls, 6, 0, 0, 8, 0) < 0) continue;
        if (polls[1].found && !hear(&it, out[0], 'O')) out[0] = -1;
        if (polls[2].found && !hear(&it, err[0], 'E')) err[0] = -1;
        pass_on(&it);
        if (polls[3].found) {
            word wrote = call(WRITE, in[1], (word)(buffer + at), filled - at, 0, 0, 0);
            if (wrote > 0) at += (u32)wrote;
            else if (wrote != -EAGAIN && wrote != -EINTR) call(CLOSE, in[1], 0, 0, 0, 0, 0), in[1] = -1, at = filled;
        }
        if (polls[0].found) {
            u8 head[FRAME];
            u32 size = 0;
            commands = take(head, FRAME) && (size = (u32)number(head + 1, 4)) <= PIECE && take(piece, size);
            /* Input that cannot come any more must not look like all of it. */
            if (!commands && in[1] >= 0) killed = 1;
            if (commands && head[0] == 'K' && size == 8 && number(piece, 8) == id) killed = 1;
            if (commands && head[0] == 'I' && in[1] >= 0) {
                wanted = 0;
                memcpy(buffer, piece, size);
                at = 0;
                filled = size;
                if (!size) call(CLOSE, in[1], 0, 0, 0, 0, 0), in[1] = -1;
            }
        }
        if (polls[5].found) {
            u8 which[128];
            while (call(READ, signals, (word)which, sizeof which, 0, 0, 0) > 0)
                if (number(which, 4) == SIGTERM) killed = 1;
        }
        if (killed) {
            for (int round = 0; round < 400; round++) {
                int found = kill_below(own, &refused);
                while (1) {
                    int how = 0;
                    word reaped = call(WAIT4, -1, (word)&how, WNOHANG, 0, 0, 0);
                    if (reaped == child) status = how, ended = 1;
                    if (reaped <= 0) break;
                }
                if (!found) break;
                rest_ms(round < 10 ? 1 : 10);
            }
            if (refused) ended = 1;
            if (!ended) killed = 0; /* All is gone; what is to be reaped comes at once. */
            if (!ended && call(WAIT4, child, (word)&status, 0, 0, 0, 0) == child) ended = 1;
            killed = 1;
        } else {
            while (1) {
                int how = 0;
                word reaped = call(WAIT4, -1, (word)&how, WNOHANG, 0, 0, 0);
                if (reaped == child) status = how, ended = 1;
                if (reaped <= 0) break;
            }
        }
    }
    /* What it has said lies in the pipes. Whoever it left behind may go on talking: that is nobody's output. */
    while (out[0] >= 0 || err[0] >= 0) {
        int more = 0;
        if (out[0] >= 0) {
            int got = hear(&it, out[0], 'O');
            if (!got) out[0] = -1;
            more |= got == 1;
        }
        if (err[0] >= 0) {
            int got = hear(&it, err[0], 'E');
            if (!got) err[0] = -1;
            more |= got == 1;
        }
        pass_on(&it);
        if (!more) break;
    }
    u32 code = status & 127 ? OF_SIGNAL + (u32)(status & 127) : (u32)(status >> 8 & 255);
    u32 flags = STARTED | (memory_kills() > kills ? OUT_OF_MEMORY : 0) | (killed ? KILLED : 0) | (refused ? LEFT : 0);
    if ((out[0] >= 0 || err[0] >= 0) && !killed && !fork_here()) {
        /* Somebody has to listen, or they would end by writing. */
        call(CLOSE, 0, 0, 0, 0, 0, 0);
        call(CLOSE, 1, 0, 0, 0, 0, 0);
        call(CLOSE, journal, 0, 0, 0, 0, 0);
        block(out[0]);
        block(err[0]);
        while (out[0] >= 0 || err[0] >= 0) {
            struct poll polls[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
            call(PPOLL, (word)polls, 2, 0, 0, 8, 0);
            if (polls[0].found && call(READ, out[0], (word)input, sizeof input, 0, 0, 0) <= 0) out[0] = -1;
            if (polls[1].found && call(READ, err[0], (word)input, sizeof input, 0, 0, 0) <= 0) err[0] = -1;
        }
        leave(0);
    }
    end_step(&it, code, flags, 0, 0);
}

/* It is not known (it never began), it was forgotten, or who noted it is dead. */
enum { UNKNOWN = 1, FORGOTTEN = 2, DEAD = 3 };

static void say_lost(u8 why) { tell('L', &why, 1); }

static void run(const char *folder, u32 size) {
    u64 id = number(request, 8);
    u32 argument_count = (u32)number(request + 8, 4), variable_count = (u32)number(request + 12, 4), at = 17;
    char *user, *where;
    request[size] = 0;
    if (size < 18 || !argument_count || argument_count >= TEXTS || variable_count >= TEXTS / 2) leave(72);
    user = (char *)request + at;
    at += (u32)length(user) + 1;
    where = (char *)request + at;
    at += (u32)length(where) + 1;
    for (u32 which = 0; which < argument_count && at <= size; which++) {
        arguments[which] = (char *)request + at;
        at += (u32)length(arguments[which]) + 1;
    }
    arguments[argument_count] = 0;
    for (u32 which = 0; which < variable_count && at <= size; which++) {
        variables[which] = (char *)request + at;
        at += (u32)length(variables[which]) + 1;
    }
    variables[variable_count] = 0;
    if (at > size + 1) leave(72);
    word journal = call(OPENAT, AT_CWD, (word)journal_name(folder, id), RDWR | CREAT | TRUNC | CLOEXEC, 0600, 0, 0);
    u8 header[HEADER];
    put(header, 0, 8);
    put(header + 8, 0, 8);
    if (journal < 0 || call(PWRITE, journal, (word)header, HEADER, 0, 0, 0) != HEADER) {
        u8 end[16];
        put(end, 0, 8);
        put(end + 8, IN_FORK, 4);
        put(end + 12, (u64)(journal < 0 ? -journal : 28), 4);
        tell('Z', end, 16);
        return;
    }
    call(FLOCK, journal, LOCK_EX, 0, 0, 0, 0);
    word process = fork_here();
    if (!process) run_step(id, (int)journal, user, where, request[16]);
    call(CLOSE, journal, 0, 0, 0, 0, 0);
    if (process < 0) {
        u8 end[16];
        put(end, 0, 8);
        put(end + 8, IN_FORK, 4);
        put(end + 12, (u64)-process, 4);
        tell('Z', end, 16);
        return;
    }
    int how = 0;
    while (call(WAIT4, process, (word)&how, 0, 0, 0, 0) == -EINTR) {}
    block(1);
    if (how) say_lost(DEAD);
}

/* Tell of a step that another exec has begun, till its end. */
static void replay(const char *folder) {
    u64 id = number(request, 8), from = number(request + 8, 8);
    word journal = call(OPENAT, AT_CWD, (word)journal_name(folder, id), RDONLY | CLOEXEC, 0, 0, 0);
    u8 header[HEADER];
    int over = 0;
    u8 why = DEAD;
    if (journal < 0) {
        say_lost(UNKNOWN);
        return;
    }
    for (;;) {
        call(PREAD, journal, (word)header, HEADER, 0, 0, 0);
        u64 lost = number(header, 8), size = (u64)call(LSEEK, journal, 0, SEEK_END, 0, 0, 0) - HEADER + lost;
        if (from < lost || from > size) {
            why = FORGOTTEN;
            break;
        }
        int whole = size - from >= FRAME;
        if (whole) {
            word got = call(PREAD, journal, (word)piece, sizeof piece, (word)(HEADER + from - lost), 0, 0);
            u64 frame = got < FRAME ? 0 : FRAME + number(piece + 1, 4);
            whole = frame && (u64)got >= frame;
            if (whole) {
                for (u64 at = 0; at < frame;) {
                    word written = call(WRITE, 1, (word)(piece + at), (word)(frame - at), 0, 0, 0);
                    if (written == -EINTR) continue;
                    if (written <= 0) leave(0);
                    at += (u64)written;
                }
                from += frame;
                if (piece[0] == 'Z') {
                    call(CLOSE, journal, 0, 0, 0, 0, 0);
                    return;
                }
                continue;
            }
        }
        /* Whoever writes holds the lock; it has ended if we get it, and then nothing more comes. */
        if (over) break;
        if (!call(FLOCK, journal, LOCK_EX | LOCK_NB, 0, 0, 0, 0)) {
            over = 1;
            continue;
        }
        struct poll commands = {0, POLLIN, 0};
        long until[2] = {0, 5000000};
        if (call(PPOLL, (word)&commands, 1, (word)until, 0, 8, 0) > 0) {
            u8 head[FRAME];
            u32 size2 = 0;
            if (!take(head, FRAME) || (size2 = (u32)number(head + 1, 4)) > PIECE || !take(input, size2)) leave(0);
            /* It still runs, as its lock is held: the number is its process's. */
            if (head[0] == 'K' && number(input, 8) == id && number(header + 8, 4))
                call(KILL, (word)number(header + 8, 4), SIGTERM, 0, 0, 0, 0);
        }
    }
    call(CLOSE, journal, 0, 0, 0, 0, 0);
    say_lost(why);
}

static void __attribute__((noreturn)) steps(const char *folder) {
    u8 head[FRAME], hello[4];
    on_signal(SIGPIPE, 1);
    on_signal(SIGHUP, 1);
    put(hello, 1, 4);
    tell('H', hello, 4);
    while (take(head, FRAME)) {
        u32 size = (u32)number(head + 1, 4);
        if (size > REQUEST || !take(request, size)) leave(0);
        if (head[0] == 'R') run(folder, size);
        if (head[0] == 'J' && size == 16) replay(folder);
        if (head[0] == 'D' && size == 8)
            call(UNLINKAT, AT_CWD, (word)journal_name(folder, number(request, 8)), 0, 0, 0, 0);
    }
    leave(0);
}

/* The sign of life of a run. */

static const char *beat_file(const char *folder) { return journal_name(folder, 0); }

static void __attribute__((noreturn)) watch(const char *folder, word seconds) {
    u8 last[16] = {0}, now[16] = {0};
    u64 blocked = 1ul << (SIGTERM - 1);
    word quiet = 0;
    call(SIGPROCMASK, 0, (word)&blocked, 0, 8, 0, 0);
    while (quiet < seconds) {
        long second[2] = {1, 0};
        if (call(SIGTIMEDWAIT, (word)&blocked, 0, (word)second, 8, 0, 0) == SIGTERM) leave(OF_SIGNAL + SIGTERM);
        while (call(WAIT4, -1, 0, WNOHANG, 0, 0, 0) > 0) {}
        read_file(beat_file(folder), now, sizeof now);
        int changed = 0;
        for (int at = 0; at < 12; at++) changed |= now[at] != last[at];
        memcpy(last, now, sizeof last);
        quiet = changed ? 0 : quiet + 1;
    }
    leave(0);
}

static void __attribute__((noreturn)) beat(const char *folder) {
    u8 what[12];
    word file = call(OPENAT, AT_CWD, (word)beat_file(folder), RDWR | CREAT | CLOEXEC, 0666, 0, 0);
    if (file < 0) fail("agent: the beat cannot be written\n");
    put(what, (u64)call(GETPID, 0, 0, 0, 0, 0, 0), 4);
    for (u64 count = 1; take(what + 4, 1); count++) {
        put(what + 4, count, 8);
        call(PWRITE, file, (word)what, sizeof what, 0, 0, 0);
        call(WRITE, 1, (word)"B", 1, 0, 0, 0);
    }
    leave(0);
}

static void __attribute__((noreturn)) append(const char *file, const char *text) {
    word to = call(OPENAT, AT_CWD, (word)file, 1 | 02000 | CLOEXEC, 0, 0, 0); /* O_WRONLY, O_APPEND */
    if (to < 0) fail("agent: the file cannot be written\n");
    leave(call(WRITE, to, (word)text, (word)length(text), 0, 0, 0) == (word)length(text) ? 0 : 1);
}

void __attribute__((noreturn, used)) begin(word *stack) {
    word count = stack[0];
    char **given = (char **)(stack + 1);
    own_variables = given + count + 1;
    if (count == 3 && same(given[1], "steps")) steps(given[2]);
    if (count == 4 && same(given[1], "watch") && decimal(given[3], 0) > 0) watch(given[2], decimal(given[3], 0));
    if (count == 3 && same(given[1], "beat")) beat(given[2]);
    if (count == 4 && same(given[1], "append")) append(given[2], given[3]);
    fail("usage: agent steps FOLDER | agent watch FOLDER SECONDS | agent beat FOLDER | agent append FILE TEXT\n");
}
