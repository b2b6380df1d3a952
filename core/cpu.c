#define _DEFAULT_SOURCE /* syscall */
#include "core/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "core/numbers/numeric.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if HAVE_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

static const char *const names[DM_ISA_COUNT] = {"scalar", "avx2", "avx512", "amx", "neon"};

const char *dm_isa_name(dm_isa isa)
{
    return (unsigned)isa < DM_ISA_COUNT ? names[isa] : "unknown";
}

#if defined(__x86_64__)

#define BIT(n) (1u << (n))

/* CPUID leaf 1 */
#define ECX_FMA BIT(12)
#define ECX_OSXSAVE BIT(27)
#define ECX_AVX BIT(28)
#define ECX_F16C BIT(29)
/* CPUID leaf 7 */
#define EBX_AVX2 BIT(5)
#define EBX_AVX512 (BIT(16) | BIT(17) | BIT(30) | BIT(31)) /* F, DQ, BW, VL */
#define EDX_AMX (BIT(22) | BIT(24))                        /* BF16, TILE */
/* XCR0: which registers the operating system saves */
#define XCR0_YMM (BIT(1) | BIT(2))
#define XCR0_ZMM (XCR0_YMM | BIT(5) | BIT(6) | BIT(7))

#define XCR0_TILES (XCR0_ZMM | BIT(17) | BIT(18))

static bool all(unsigned value, unsigned bits)
{
    return (value & bits) == bits;
}

static unsigned xcr0(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

#if HAVE_AMX
/* Linux gives a process the state of tiles when it is asked (Documentation/arch/x86/xstate.rst). */
#define REQUEST_PERMISSION 0x1023
#define TILE_DATA 18

static bool may_use_tiles(void)
{
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#else
static bool may_use_tiles(void)
{
    return false;
}
#endif

static bool machine_runs(dm_isa isa)
{
    unsigned eax, ebx, ecx, edx;
    if (isa == DM_ISA_NEON || !__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        return false;
    if (!all(ecx, ECX_FMA | ECX_OSXSAVE | ECX_AVX | ECX_F16C))
        return false;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !all(ebx, EBX_AVX2))
        return false;
    if (isa == DM_ISA_AVX2)
        return all(xcr0(), XCR0_YMM);
    if (!all(ebx, EBX_AVX512) || !all(xcr0(), XCR0_ZMM))
        return false;
    return isa == DM_ISA_AVX512 || (all(edx, EDX_AMX) && all(xcr0(), XCR0_TILES) && may_use_tiles());
}

#else

static bool machine_runs(dm_isa isa)
{
#if defined(__aarch64__)
    return isa == DM_ISA_NEON; /* part of the architecture */
#else
    (void)isa;
    return false;
#endif
}

#endif

bool dm_isa_built(dm_isa isa)
{
    static const bool built[DM_ISA_COUNT] = {true, HAVE_AVX2, HAVE_AVX512, HAVE_AMX, HAVE_NEON};
    return (unsigned)isa < DM_ISA_COUNT && built[isa];
}

bool dm_isa_usable(dm_isa isa)
{
    return dm_isa_built(isa) && (isa == DM_ISA_SCALAR || machine_runs(isa));
}

dm_isa dm_isa_best(void)
{
    /* AMX has to be asked for as long as its kernel has been tested by a model of its tiles alone. */
    static const dm_isa order[] = {DM_ISA_AVX512, DM_ISA_AVX2, DM_ISA_NEON};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (dm_isa_usable(order[i]))
            return order[i];
    return DM_ISA_SCALAR;
}

static void list_usable(char *buf, size_t size)
{
    buf[0] = '\0';
    for (unsigned i = 0; i < DM_ISA_COUNT; i++) {
        if (!dm_isa_usable((dm_isa)i))
            continue;
        const size_t used = strlen(buf);
        snprintf(buf + used, size - used, "%s%s", used ? ", " : "", names[i]);
    }
}

dm_status dm_isa_choose(dm_isa *out, const char *name, dm_error *err)
{
    const char *where = "instruction set";
    if (!name) {
        name = getenv("DMPO_ISA");
        where = "DMPO_ISA";
    }
    *out = dm_isa_best();
    if (!name)
        return DM_OK;
    unsigned i = 0;
    while (i < DM_ISA_COUNT && strcmp(name, names[i]) != 0)
        i++;
    if (i == DM_ISA_COUNT)
        return dm_fail(err, DM_ERR_ARGUMENT, "%s '%s': must be scalar, avx2, avx512, amx or neon", where, name);
    if (!dm_isa_usable((dm_isa)i)) {
        char usable[64];
        list_usable(usable, sizeof usable);
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s '%s': this %s lacks it; usable here: %s", where, name,
                       machine_runs((dm_isa)i) ? "build" : "machine", usable);
    }
    *out = (dm_isa)i;
    return DM_OK;
}

/* Removes leading and trailing blanks; an empty name becomes "unknown". */
static void tidy(char *buf)
{
    const size_t lead = strspn(buf, " \t");
    memmove(buf, buf + lead, strlen(buf + lead) + 1);
    size_t end = strlen(buf);
    while (end > 0 && strchr(" \t\n", buf[end - 1]))
        end--;
    buf[end] = '\0';
}

void dm_cpu_name(char *buf, int size)
{
    char name[128] = "";
#if defined(__x86_64__)
    unsigned word[12] = {0}; /* stays empty where the leaves are missing */
    for (unsigned i = 0; i < 3; i++)
        __get_cpuid(0x80000002u + i, &word[4 * i], &word[4 * i + 1], &word[4 * i + 2], &word[4 * i + 3]);
    memcpy(name, word, sizeof word);
    name[sizeof word] = '\0';
#else
    char line[128];
    FILE *f = fopen("/sys/firmware/devicetree/base/model", "r");
    if (f) {
        if (fgets(line, sizeof line, f))
            snprintf(name, sizeof name, "%s", line);
        fclose(f);
    }
#endif
    tidy(name);
    if (size > 0)
        snprintf(buf, (size_t)size, "%s", name[0] ? name : "unknown");
}

/* volatile: the compiler may not compute at build time what the processor's mode decides. */
dm_status dm_float_env_check(dm_error *err)
{
    volatile float tiny = FLT_MIN, half = 0.5f;
    volatile double tiny64 = DBL_MIN;
    const volatile float below = tiny * half;
    const volatile double below64 = tiny64 * (double)half;
    const volatile float kept = below + below; /* a subnormal operand counts as zero under DAZ */
    if (!(below > 0) || !(below64 > 0) || !(kept > 0))
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "this thread flushes subnormal numbers to zero; results would differ: switch FTZ and DAZ off");
    volatile float one = 1.0f, quarter_ulp = 0x1p-25f;
    const volatile float up = one + quarter_ulp, down = one - 0x1p-26f, negative = -one - quarter_ulp;
    if (up != 1.0f || down != 1.0f || negative != -1.0f)
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "this thread does not round to nearest; results would differ: restore it with fesetround");
    return DM_OK;
}
