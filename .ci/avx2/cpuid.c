/* Preloaded into a program, answers its CPUID instructions as a processor with AVX2 and FMA and no later vectors does.

   For Linux on x86-64 where the processor can fault on CPUID (flag cpuid_fault): each of the instructions is then a
   SIGSEGV, which a handler answers from a table made before. Libraries choose their kernels by CPUID, so they take those
   of AVX2, at the speed of the hardware. The instructions themselves stay: a program that asks nobody could use them. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define LEAVES 0x41 /* of a range, at most */
#define SUBLEAVES 8 /* kept of a leaf */
#define CANNOT 69   /* status of a program that would see the real processor */
#define BIT(n) (1u << (n))

struct answer {
    uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

static const uint32_t ranges[] = {0, 0x40000000u, 0x80000000u};
#define RANGES (sizeof ranges / sizeof *ranges)

static struct answer known[RANGES * LEAVES * SUBLEAVES];
static int count;
static int active;
static struct sigaction theirs; /* what the program wants of SIGSEGV */
static int (*real_sigaction)(int, const struct sigaction *, struct sigaction *);

static int allow_cpuid(long yes) { return (int)syscall(SYS_arch_prctl, ARCH_SET_CPUID, yes); }

static struct answer ask(uint32_t leaf, uint32_t subleaf) {
    struct answer got = {.leaf = leaf, .subleaf = subleaf};
    __cpuid_count(leaf, subleaf, got.eax, got.ebx, got.ecx, got.edx);
    return got;
}

static struct answer reduced(struct answer got) {
    if (got.leaf == 7 && got.subleaf == 0) {
        /* AVX-512: F, DQ, IFMA, PF, ER, CD, BW, VL */
        got.ebx &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));
        /* AVX-512: VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ; and GFNI */
        got.ecx &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14) | BIT(8));
        /* AVX-512: 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; AMX: BF16, TILE, INT8 */
        got.edx &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(23) | BIT(22) | BIT(24) | BIT(25));
    } else if (got.leaf == 7 && got.subleaf == 1) {
        /* AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA */
        got.eax &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23));
        /* AVX-VNNI-INT8, AVX-NE-CONVERT, AMX-COMPLEX, AVX-VNNI-INT16, AVX10 */
        got.edx &= ~(BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19));
    } else if (got.leaf == 0xd && got.subleaf == 0) {
        got.eax &= BIT(0) | BIT(1) | BIT(2); /* states that are saved: x87, SSE, AVX */
        got.ebx = got.ecx = 832;             /* bytes of these */
    } else if ((got.leaf == 0xd && got.subleaf > 2) || got.leaf == 0x1d || got.leaf == 0x1e || got.leaf == 0x24) {
        got.eax = got.ebx = got.ecx = got.edx = 0; /* further states, AMX's tiles, AVX10 */
    }
    return got;
}

static void learn(void) {
    for (size_t at = 0; at < RANGES; at++) {
        uint32_t last = ask(ranges[at], 0).eax;
        if (last < ranges[at] || last >= ranges[at] + LEAVES) last = ranges[at]; /* no such range here */
        for (uint32_t leaf = ranges[at]; leaf <= last; leaf++)
            for (uint32_t subleaf = 0; subleaf < SUBLEAVES; subleaf++)
                known[count++] = reduced(ask(leaf, subleaf));
    }
}

static struct answer remembered(uint32_t leaf, uint32_t subleaf) {
    for (int at = 0; at < count; at++)
        if (known[at].leaf == leaf && known[at].subleaf == subleaf) return known[at];
    return (struct answer){.leaf = leaf, .subleaf = subleaf};
}

/* Leaves that name the core which asks. */
static int of_core(uint32_t leaf) { return leaf == 1 || leaf == 0xb || leaf == 0x1f || leaf == 0x8000001eu; }

static void answer_cpuid(greg_t *registers) {
    uint32_t leaf = (uint32_t)registers[REG_RAX], subleaf = (uint32_t)registers[REG_RCX];
    struct answer got = remembered(leaf, subleaf);
    if (of_core(leaf) && allow_cpuid(1) == 0) { /* a confined program may not */
        got = ask(leaf, subleaf);
        allow_cpuid(0);
    }
    registers[REG_RAX] = got.eax;
    registers[REG_RBX] = got.ebx;
    registers[REG_RCX] = got.ecx;
    registers[REG_RDX] = got.edx;
    registers[REG_RIP] += 2;
}

static void on_fault(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    if (info->si_code == SI_KERNEL && code[0] == 0x0f && code[1] == 0xa2)
        answer_cpuid(registers);
    else if (theirs.sa_flags & SA_SIGINFO)
        theirs.sa_sigaction(number, info, context);
    else if (theirs.sa_handler == SIG_DFL) {
        real_sigaction(number, &theirs, NULL);
        raise(number);
    } else if (theirs.sa_handler != SIG_IGN)
        theirs.sa_handler(number);
}

/* The program's own handler is called for its own faults alone. */
int sigaction(int number, const struct sigaction *given, struct sigaction *before) {
    if (!real_sigaction) *(void **)&real_sigaction = dlsym(RTLD_NEXT, "sigaction");
    if (number != SIGSEGV || !active) return real_sigaction(number, given, before);
    if (before) *before = theirs;
    if (given) theirs = *given;
    return 0;
}

sighandler_t signal(int number, sighandler_t handler) {
    struct sigaction given = {.sa_handler = handler, .sa_flags = SA_RESTART}, before;
    return sigaction(number, &given, &before) ? SIG_ERR : before.sa_handler;
}

/* A thread that blocks SIGSEGV would die of its next CPUID. */
static int masked(const char *name, int how, const sigset_t *given, sigset_t *before) {
    int (*real)(int, const sigset_t *, sigset_t *);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    if (!given || !active || how == SIG_UNBLOCK) return real(how, given, before);
    sigset_t open = *given;
    sigdelset(&open, SIGSEGV);
    return real(how, &open, before);
}

int pthread_sigmask(int how, const sigset_t *given, sigset_t *before) {
    return masked("pthread_sigmask", how, given, before);
}

int sigprocmask(int how, const sigset_t *given, sigset_t *before) { return masked("sigprocmask", how, given, before); }

__attribute__((constructor)) static void begin(void) {
    char program[256] = "";
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0) return;
    if (strstr(program, "chrom")) return; /* a browser's sandbox ends a process that asks for arch_prctl */
    learn();
    struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (!real_sigaction) *(void **)&real_sigaction = dlsym(RTLD_NEXT, "sigaction");
    active = real_sigaction(SIGSEGV, &ours, &theirs) == 0 && allow_cpuid(0) == 0;
    if (!active) {
        static const char why[] = "cannot imitate a processor with AVX2: the system lets no program fault on CPUID\n";
        (void)!write(STDERR_FILENO, why, sizeof why - 1);
        _exit(CANNOT);
    }
}
