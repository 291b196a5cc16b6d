/* What our programs share: system calls by their numbers, as there is no C library. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long word;

#if defined(__x86_64__)
enum {
    READ = 0, WRITE = 1, CLOSE = 3, LSEEK = 8, SIGACTION = 13, SIGPROCMASK = 14, PREAD = 17, PWRITE = 18,
    GETPID = 39, SOCKET = 41, CONNECT = 42, SENDTO = 44, RECVFROM = 45, SHUTDOWN = 48, BIND = 49, LISTEN = 50,
    SETSOCKOPT = 54, GETSOCKOPT = 55, CLONE = 56, EXECVE = 59, WAIT4 = 61, KILL = 62, FLOCK = 73, FTRUNCATE = 77,
    CHDIR = 80, SETUID = 105, SETGID = 106, SETSID = 112, SETGROUPS = 116, SIGTIMEDWAIT = 128, PRCTL = 157,
    GETDENTS = 217, EXIT_GROUP = 231, OPENAT = 257, UNLINKAT = 263, PPOLL = 271, ACCEPT4 = 288, SIGNALFD = 289,
    DUP3 = 292, PIPE2 = 293,
};

static word call(word number, word a, word b, word c, word d, word e, word f) {
    word result;
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    register word r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
#elif defined(__aarch64__)
enum {
    DUP3 = 24, FLOCK = 32, UNLINKAT = 35, FTRUNCATE = 46, CHDIR = 49, OPENAT = 56, CLOSE = 57, PIPE2 = 59,
    GETDENTS = 61, LSEEK = 62, READ = 63, WRITE = 64, PREAD = 67, PWRITE = 68, PPOLL = 73, SIGNALFD = 74,
    EXIT_GROUP = 94, KILL = 129, SIGACTION = 134, SIGPROCMASK = 135, SIGTIMEDWAIT = 137, SETGID = 144, SETUID = 146,
    SETSID = 157, SETGROUPS = 159, PRCTL = 167, GETPID = 172, SOCKET = 198, BIND = 200, LISTEN = 201,
    CONNECT = 203, SENDTO = 206, RECVFROM = 207, SETSOCKOPT = 208, GETSOCKOPT = 209, SHUTDOWN = 210, CLONE = 220,
    EXECVE = 221, ACCEPT4 = 242, WAIT4 = 260,
};

static word call(word number, word a, word b, word c, word d, word e, word f) {
    register word x8 __asm__("x8") = number;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    register word x4 __asm__("x4") = e;
    register word x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

__asm__(".globl _start\n_start: mov x29, #0\n mov x30, #0\n mov x0, sp\n bl begin\n");
#else
#error "the numbers of this architecture's system calls are missing"
#endif

/* The compiler may call these for what it sees as a loop over bytes. */
void *memcpy(void *to, const void *from, u64 size) {
    for (u64 at = 0; at < size; at++) ((volatile u8 *)to)[at] = ((const u8 *)from)[at];
    return to;
}

void *memset(void *to, int byte, u64 size) {
    for (u64 at = 0; at < size; at++) ((volatile u8 *)to)[at] = (u8)byte;
    return to;
}

static void __attribute__((noreturn)) leave(int code) {
    for (;;) call(EXIT_GROUP, code, 0, 0, 0, 0, 0);
}

static void __attribute__((noreturn)) fail(const char *why) {
    u64 size = 0;
    while (why[size]) size++;
    call(WRITE, 2, (word)why, (word)size, 0, 0, 0);
    leave(1);
}
