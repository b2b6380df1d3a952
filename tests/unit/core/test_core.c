/* Errors, arena, random numbers, checksums and files. (Threads have tests/unit/core/test_threads.c.) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "core/arena.h"
#include "core/cpu.h"
#include "core/files/durable.h"
#include "core/files/file.h"
#include "core/numbers/philox.h"
#include "core/sha256.h"
#include "core/sha256_blocks.h"
#include "core/system.h"
#include "tests/support/check.h"

/* ---- errors ---- */

static void check_errors(void)
{
    dm_error err = {0};
    CK(dm_fail(&err, DM_ERR_INPUT, "%s:%d: bad", "a.json", 3) == DM_ERR_INPUT);
    CK(err.status == DM_ERR_INPUT && strcmp(err.message, "a.json:3: bad") == 0);
    CK(dm_fail_context(&err, DM_ERR_INTERNAL, "pair %d", 7) == DM_ERR_INPUT);
    CK(strcmp(err.message, "pair 7: a.json:3: bad") == 0);
    CK(dm_fail(NULL, DM_ERR_FILE, "x") == DM_ERR_FILE);
    CK(dm_fail_context(NULL, DM_ERR_FILE, "x") == DM_ERR_FILE);

    dm_fail(&err, DM_ERR_FILE, "%s", "a\nb\x1b[31m\x7f\xC2\x9B\xC3\xA9\t\x9B\xE2\x82");
    CK_MSG(strcmp(err.message, "a?b?[31m???\xC3\xA9????") == 0, "got '%s'", err.message);

    char longer[3 * DM_ERROR_MAX];
    for (size_t shift = 0; shift < 4; shift++) { /* the cut falls on each byte of a 3-byte character */
        memset(longer, 'x', sizeof longer);
        for (size_t i = shift; i + 3 < sizeof longer; i += 3)
            memcpy(longer + i, "\xE2\x82\xAC", 3);
        longer[sizeof longer - 1] = '\0';
        dm_fail(&err, DM_ERR_FILE, "%s", longer);
        const size_t length = strlen(err.message);
        CK(length < sizeof err.message && length > sizeof err.message - 6);
        CK(strcmp(err.message + length - 3, "...") == 0);
        CK((length - 3 - shift) % 3 == 0);
        CK(memcmp(err.message, longer, length - 3) == 0);
        dm_fail_context(&err, DM_ERR_FILE, "here");
        CK(strlen(err.message) < sizeof err.message && strncmp(err.message, "here: ", 6) == 0);
        CK(strcmp(err.message + strlen(err.message) - 3, "...") == 0);
        dm_fail_context(&err, DM_ERR_FILE, "%s", longer);
        CK(strlen(err.message) < sizeof err.message);
    }
}

/* ---- arena ---- */

typedef struct layout {
    float *weights, *step, *scratch_a, *scratch_b, *after;
    unsigned char *odd;
} layout;

static layout place(dm_arena *a)
{
    layout l;
    l.weights = dm_arena_alloc(a, 1000, sizeof(float));
    l.odd = dm_arena_zalloc(a, 3, 1);
    dm_arena_enter(a, DM_ARENA_STEP);
    l.step = dm_arena_alloc(a, 17, sizeof(float));
    dm_arena_enter(a, DM_ARENA_SCRATCH);
    const dm_arena_marker mark = dm_arena_mark(a);
    l.scratch_a = dm_arena_alloc(a, 5000, sizeof(float));
    dm_arena_release(a, mark);
    l.scratch_b = dm_arena_alloc(a, 10, sizeof(float));
    dm_arena_release(a, mark);
    l.after = dm_arena_alloc(a, 1, sizeof(float));
    return l;
}

static void check_arena_layout(void)
{
    dm_arena measure = dm_arena_measure(), real;
    const layout none = place(&measure);
    CK(!measure.failed && none.weights == NULL && none.after == NULL);
    dm_error err = {0};
    CK_MSG(dm_arena_open(&real, measure.peak, &err) == DM_OK, "%s", err.message);
    const layout l = place(&real);
    CK(!real.failed);
    CK(real.used == measure.used && real.peak == measure.peak && real.allocations == measure.allocations);
    CK(memcmp(real.phase_peak, measure.phase_peak, sizeof real.phase_peak) == 0);
    CK(real.peak == real.capacity);
    CK(real.phase_peak[DM_ARENA_PERMANENT] >= 4003 && real.phase_peak[DM_ARENA_STEP] >= 68 &&
       real.phase_peak[DM_ARENA_SCRATCH] >= 20000);
    CK(real.phase_peak[DM_ARENA_SCRATCH] < 20000 + 3 * DM_ALIGN);
    CK((size_t)l.weights % DM_ALIGN == 0 && (size_t)l.odd % DM_ALIGN == 0 && (size_t)l.step % DM_ALIGN == 0);
    CK(l.scratch_a == l.scratch_b && l.scratch_b == l.after);
    CK((unsigned char *)l.weights + 4000 <= l.odd && l.odd + 3 <= (unsigned char *)l.step);
    CK(l.odd[0] == 0 && l.odd[2] == 0);
    memset(l.weights, 0xAB, 4000);
    CK(l.odd[0] == 0);
    CK(dm_arena_alloc(&real, real.capacity, 1) == NULL && real.failed);
    CK(dm_arena_alloc(&real, 1, 1) == NULL); /* sticky */
    dm_arena_close(&real);
    CK(real.base == NULL && real.capacity == 0);
    dm_arena_close(&real);
}

static void check_arena_limits(void)
{
    dm_arena a = dm_arena_measure();
    CK(dm_arena_alloc(&a, SIZE_MAX / 2, 4) == NULL && a.failed);
    a = dm_arena_measure();
    dm_arena_alloc(&a, SIZE_MAX - 10, 1);
    CK(a.failed);
    a = dm_arena_measure();
    dm_arena_alloc(&a, SIZE_MAX / 4, 3);
    CK(!a.failed);
    dm_arena_alloc(&a, SIZE_MAX / 4, 3);
    CK(a.failed);
    a = dm_arena_measure();
    dm_arena_alloc(&a, 0, SIZE_MAX);
    dm_arena_alloc(&a, SIZE_MAX, 0);
    CK(!a.failed && a.used == 0);

    dm_arena_marker mark = dm_arena_mark(&a);
    mark.used = 64;
    dm_arena_release(&a, mark);
    CK(a.failed);

    dm_error err = {0};
    CK(dm_arena_open(&a, SIZE_MAX - 65536, &err) == DM_ERR_MEMORY);
    CK_MSG(strstr(err.message, "bytes of memory are needed"), "got '%s'", err.message);
    CK(a.base == NULL && dm_arena_alloc(&a, 1, 1) == NULL);
    dm_arena_close(&a);
    CK(dm_arena_open(&a, 1000, &err) == DM_OK);
    CK(dm_arena_alloc(&a, 0, 4) != NULL && !a.failed);
    dm_arena_close(&a);
}

/* Under AddressSanitizer a byte past an allocation, and released scratch, must stop the program. */
static void check_arena_poison(void)
{
    if (!CK_ASAN)
        return;
    for (int mode = 0; mode < 3; mode++) {
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            dm_arena a;
            if (!freopen("/dev/null", "w", stderr) || dm_arena_open(&a, 4096, NULL) != DM_OK)
                _exit(0);
            const dm_arena_marker mark = dm_arena_mark(&a);
            volatile unsigned char *p = dm_arena_alloc(&a, 61, 1);
            if (mode == 0)
                p[61] = 1;
            if (mode == 1)
                p[64] = 1;
            dm_arena_release(&a, mark);
            if (mode == 2)
                p[0] = 1;
            _exit(0);
        }
        int status = 0;
        CK(child > 0 && waitpid(child, &status, 0) == child);
        CK_MSG(!(WIFEXITED(status) && WEXITSTATUS(status) == 0), "mode %d: the access went unnoticed", mode);
    }
}

/* ---- random numbers ---- */

/* Random123 1.14, tests/kat_vectors, philox4x32 10. */
static void check_philox(void)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } t[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        dm_u32x4 counter;
        memcpy(counter.v, t[i].counter, sizeof counter.v);
        const dm_u32x4 got = dm_philox4x32_10(counter, t[i].key);
        CK_MSG(memcmp(got.v, t[i].want, sizeof got.v) == 0, "vector %zu: %08x %08x %08x %08x", i, got.v[0], got.v[1],
               got.v[2], got.v[3]);
    }
    const uint32_t key[2] = {0x89ABCDEF, 0x01234567u ^ (uint32_t)(3 * UINT64_C(0x9E3779B9))};
    const dm_u32x4 want = dm_philox4x32_10((dm_u32x4){{5, 6, 7, 8}}, key);
    const dm_u32x4 got =
        dm_random(UINT64_C(0x0123456789ABCDEF), DM_RNG_SAMPLE, UINT64_C(0x800000007), UINT64_C(0x600000005));
    CK(memcmp(got.v, want.v, sizeof got.v) == 0);
}

static void check_distributions(void)
{
    enum { N = 200000 };
    double mean = 0, square = 0, normal_mean = 0, normal_square = 0, fourth = 0;
    bool in_range = true;
    for (uint64_t i = 0; i < N; i++) {
        const double u = dm_random_uniform(9, DM_RNG_TEST, 0, i), z = dm_random_normal(9, DM_RNG_TEST, 1, i);
        in_range = in_range && u >= 0 && u < 1 && isfinite(z);
        mean += u / N;
        square += u * u / N;
        normal_mean += z / N;
        normal_square += z * z / N;
        fourth += z * z * z * z / N;
    }
    CK(in_range); /* the other limits: about 5 standard errors */
    CK_MSG(fabs(mean - 0.5) < 0.0033 && fabs(square - 1.0 / 3) < 0.0034, "uniform: %f %f", mean, square);
    CK_MSG(fabs(normal_mean) < 0.0112 && fabs(normal_square - 1) < 0.016 && fabs(fourth - 3) < 0.11, "normal: %f %f %f",
           normal_mean, normal_square, fourth);
}

static void check_shuffle(void)
{
    enum { N = 1000 };
    uint32_t order[N], again[N];
    bool seen[N] = {false};
    for (uint32_t i = 0; i < N; i++)
        order[i] = again[i] = i;
    dm_random_shuffle(order, N, 42, DM_RNG_SHUFFLE, 0);
    dm_random_shuffle(again, N, 42, DM_RNG_SHUFFLE, 0);
    CK(memcmp(order, again, sizeof order) == 0);
    size_t distinct = 0, fixed = 0;
    for (size_t i = 0; i < N; i++) {
        if (order[i] < N && !seen[order[i]]) {
            seen[order[i]] = true;
            distinct++;
        }
        fixed += order[i] == i;
    }
    CK(distinct == N && fixed < 10);
    dm_random_shuffle(again, N, 42, DM_RNG_SHUFFLE, 1);
    CK(memcmp(order, again, sizeof order) != 0);
    dm_random_shuffle(NULL, 0, 1, DM_RNG_SHUFFLE, 0);
    uint32_t one = 7;
    dm_random_shuffle(&one, 1, 1, DM_RNG_SHUFFLE, 0);
    CK(one == 7);

    unsigned count[24] = {0}; /* all orders of 4 are equally likely: chi^2 with 23 degrees, 1e-6 above 70 */
    for (uint64_t s = 0; s < 24000; s++) {
        uint32_t o[4] = {0, 1, 2, 3};
        dm_random_shuffle(o, 4, 7, DM_RNG_TEST, s);
        const unsigned rank = 6 * o[0] + 2 * (o[1] - (o[1] > o[0])) + (o[2] > o[3]);
        count[rank]++;
    }
    double chi = 0;
    for (int i = 0; i < 24; i++)
        chi += (count[i] - 1000.0) * (count[i] - 1000.0) / 1000;
    CK_MSG(chi < 70, "chi square %f", chi);
}

/* ---- SHA-256 ---- */

static void check_sha256(void)
{
    static const struct {
        const char *text, *want;
    } t[] = {
        /* FIPS 180-4 examples */
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrst"
         "nopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    char hex[DM_SHA256_HEX];
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        dm_sha256 h;
        dm_sha256_init(&h);
        dm_sha256_update(&h, t[i].text, strlen(t[i].text));
        dm_sha256_finish(&h, hex);
        CK_MSG(strcmp(hex, t[i].want) == 0, "'%s': %s", t[i].text, hex);
    }
    dm_sha256 million;
    char as[1000];
    memset(as, 'a', sizeof as);
    dm_sha256_init(&million);
    for (size_t done = 0, n = 0; done < 1000000; done += n) { /* in pieces of 1, 2, 3 ... bytes */
        n = n % 977 + 1 < 1000000 - done ? n % 977 + 1 : 1000000 - done;
        dm_sha256_update(&million, as, n);
    }
    dm_sha256_finish(&million, hex);
    CK_MSG(strcmp(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") == 0, "got %s", hex);
    for (size_t blocks = 0; blocks < 4; blocks++) { /* four messages at once, at any alignment */
        uint32_t plain[4][8], four[4][8];
        static unsigned char noise[4 * 200];
        const unsigned char *const p[] = {noise, noise + 201, noise + 402, noise + 600};
        dm_digest one, all[4];
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (unsigned char)(i * 2654435761u >> 13);
        for (size_t k = 0; k < 4; k++) {
            for (size_t i = 0; i < 8; i++)
                plain[k][i] = four[k][i] = (uint32_t)(k + 11 * i);
            dm_sha256_blocks_plain(plain[k], p[k], blocks);
        }
        dm_sha256_blocks_four(four, p, blocks);
        CK_MSG(memcmp(plain, four, sizeof plain) == 0, "%zu blocks of four messages", blocks);
        dm_sha256_four((const void *const *)p, 61 * blocks, all);
        for (size_t k = 0; k < 4; k++) {
            dm_sha256 h;
            dm_sha256_init(&h);
            dm_sha256_update(&h, p[k], 61 * blocks);
            dm_sha256_digest(&h, &one);
            CK_MSG(memcmp(&one, &all[k], sizeof one) == 0, "message %zu of four", k);
        }
    }
    if (dm_sha256_x86_usable()) {
        uint32_t plain[8] = {1, 2, 3, 4, 5, 6, 7, 8}, fast[8] = {1, 2, 3, 4, 5, 6, 7, 8};
        unsigned char noise[64 * 33 + 1];
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (unsigned char)(i * i * 31 + i / 7);
        for (size_t blocks = 0; blocks <= 33; blocks++) {
            dm_sha256_blocks_plain(plain, noise + blocks % 2, blocks);
            dm_sha256_blocks_x86(fast, noise + blocks % 2, blocks);
            CK_MSG(memcmp(plain, fast, sizeof plain) == 0, "%zu blocks", blocks);
        }
    } else {
        ck_skip("this processor has no SHA extensions");
    }
    char whole[DM_SHA256_HEX];
    for (size_t n = 0; n < 200; n++) { /* every length around the padding, in one piece and byte by byte */
        dm_sha256 a, b;
        dm_sha256_init(&a);
        dm_sha256_init(&b);
        dm_sha256_update(&a, as, n);
        for (size_t i = 0; i < n; i++)
            dm_sha256_update(&b, as + i, 1);
        dm_sha256_finish(&a, whole);
        dm_sha256_finish(&b, hex);
        CK(strcmp(whole, hex) == 0);
    }
}

/* ---- files ---- */

static void check_files(const char *dir)
{
    dm_path path, other, link_path, doomed;
    char hex[DM_SHA256_HEX], *data;
    size_t size;
    dm_error err = {0};
    CK(dm_path_in(&path, dir, "a/b/c", &err) == DM_OK);
    CK(dm_dir_create(path.text, &err) == DM_OK && dm_dir_exists(path.text) && dm_dir_create(path.text, &err) == DM_OK);
    CK(dm_path_in(&path, dir, "file", &err) == DM_OK);
    CK(!dm_file_exists(path.text));
    CK(dm_file_write(path.text, "abc", 3, &err) == DM_OK && dm_file_exists(path.text) && !dm_dir_exists(path.text));
    CK(dm_file_read(path.text, 3, &data, &size, &err) == DM_OK);
    CK(data && size == 3 && memcmp(data, "abc", 4) == 0);
    free(data);
    CK(dm_file_sha256(path.text, hex, &err) == DM_OK);
    CK(strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0);
    CK(dm_file_read(path.text, 2, &data, &size, &err) == DM_ERR_FILE && data == NULL);
    CK_MSG(strstr(err.message, "has 3 bytes, the limit is 2"), "got '%s'", err.message);
    CK(dm_file_write(path.text, "", 0, &err) == DM_OK && dm_file_read(path.text, 9, &data, &size, &err) == DM_OK);
    CK(data && size == 0 && data[0] == '\0');
    free(data);

    CK(dm_file_read(dir, 100, &data, &size, &err) == DM_ERR_FILE && strstr(err.message, "not a regular file"));
    CK(dm_path_in(&other, dir, "pipe", &err) == DM_OK && mkfifo(other.text, 0600) == 0);
    CK(dm_file_read(other.text, 100, &data, &size, &err) == DM_ERR_FILE && strstr(err.message, "not a regular file"));
    CK(dm_path_in(&other, dir, "none/file", &err) == DM_OK);
    CK(dm_file_read(other.text, 100, &data, &size, &err) == DM_ERR_FILE && strstr(err.message, "No such file"));
    CK(dm_file_write(other.text, "x", 1, &err) == DM_ERR_FILE && dm_file_sha256(other.text, hex, &err) == DM_ERR_FILE);
    CK(dm_path_in(&other, dir, "file/below", &err) == DM_OK);
    CK(dm_dir_create(other.text, &err) == DM_ERR_FILE);

    /* A failed write leaves the old file and no temporary one: the target is a directory, so rename fails. */
    CK(dm_path_in(&other, dir, "a", &err) == DM_OK);
    CK(dm_file_write(other.text, "x", 1, &err) == DM_ERR_FILE && dm_dir_exists(other.text));
    CK(dm_path_print(&path, &err, "%s/a.tmp-dmpo", dir) == DM_OK);
    CK(!dm_file_exists(path.text));

    /* Removal takes links away and leaves what they point to. */
    CK(dm_path_in(&path, dir, "keep", &err) == DM_OK && dm_dir_create(path.text, &err) == DM_OK);
    CK(dm_path_in(&other, path.text, "f", &err) == DM_OK && dm_file_write(other.text, "1", 1, &err) == DM_OK);
    CK(dm_path_in(&doomed, dir, "a", &err) == DM_OK);
    CK(dm_path_in(&link_path, doomed.text, "link", &err) == DM_OK && symlink(path.text, link_path.text) == 0);
    CK_MSG(dm_dir_remove(doomed.text, &err) == DM_OK, "%s", err.message);
    CK(!dm_dir_exists(doomed.text) && dm_file_exists(other.text));
    CK(dm_dir_remove(doomed.text, &err) == DM_ERR_FILE);
    CK(dm_path_in(&doomed, dir, "moved", &err) == DM_OK);
    CK(dm_rename_durable(path.text, doomed.text, &err) == DM_OK && dm_dir_exists(doomed.text) &&
       !dm_dir_exists(path.text));
    CK(dm_rename_durable(path.text, doomed.text, &err) == DM_ERR_FILE);
}

static void check_process(void)
{
    const double start = dm_seconds();
    CK(dm_seconds() >= start);
    const size_t before = dm_rss_now();
    const size_t size = (size_t)64 << 20;
    dm_arena a;
    dm_error err = {0};
    CK_MSG(dm_arena_open(&a, size, &err) == DM_OK, "%s", err.message);
    if (before > 0 && !CK_SANITIZED) {
        const size_t now = dm_rss_now();
        CK_MSG(now >= before + size * 9 / 10 && now <= before + size * 11 / 10, "%zu before, %zu now", before, now);
        CK(dm_rss_peak() >= now / 10 * 9);
    }
    dm_arena_close(&a);
}

/* ---- CPU ---- */

static void check_cpu(void)
{
    dm_isa isa;
    dm_error err = {0};
    unsetenv("DMPO_ISA");
    CK(dm_isa_choose(&isa, NULL, &err) == DM_OK && isa == dm_isa_best() && dm_isa_usable(isa));
    CK(dm_isa_usable(DM_ISA_SCALAR) && !dm_isa_usable(DM_ISA_COUNT));
    CK(!dm_isa_usable(DM_ISA_AVX512) || dm_isa_usable(DM_ISA_AVX2) || !HAVE_AVX2);
    CK((HAVE_AVX2 || !dm_isa_usable(DM_ISA_AVX2)) && (HAVE_AVX512 || !dm_isa_usable(DM_ISA_AVX512)));
    CK(HAVE_NEON ? dm_isa_usable(DM_ISA_NEON) : !dm_isa_usable(DM_ISA_NEON));
    for (unsigned i = 0; i < DM_ISA_COUNT; i++) {
        const char *name = dm_isa_name((dm_isa)i);
        dm_isa by_name = DM_ISA_COUNT, by_env = DM_ISA_COUNT;
        const dm_status want = dm_isa_usable((dm_isa)i) ? DM_OK : DM_ERR_UNSUPPORTED;
        CK(dm_isa_choose(&by_name, name, &err) == want);
        setenv("DMPO_ISA", name, 1);
        CK(dm_isa_choose(&by_env, NULL, &err) == want);
        if (want == DM_OK)
            CK(by_name == (dm_isa)i && by_env == (dm_isa)i);
        else
            CK(strstr(err.message, name) && strstr(err.message, "scalar"));
    }
    setenv("DMPO_ISA", "mmx", 1);
    CK(dm_isa_choose(&isa, NULL, &err) == DM_ERR_ARGUMENT && strstr(err.message, "DMPO_ISA 'mmx'"));
    CK(dm_isa_choose(&isa, "scalar", &err) == DM_OK && isa == DM_ISA_SCALAR);
    CK(dm_isa_choose(&isa, "", &err) == DM_ERR_ARGUMENT);
    unsetenv("DMPO_ISA");

    char name[64], tiny[4];
    dm_cpu_name(name, sizeof name);
    dm_cpu_name(tiny, sizeof tiny);
    CK(strlen(name) > 0 && strlen(tiny) > 0 && strncmp(name, tiny, 3) == 0);
}

static void check_float_env(void)
{
    dm_error err = {0};
    CK_MSG(dm_float_env_check(&err) == DM_OK, "%s", err.message);
#if defined(__x86_64__)
    const unsigned before = __builtin_ia32_stmxcsr();
    static const unsigned wrong[] = {0x8000, 0x0040, 0x2000, 0x4000, 0x6000}; /* FTZ, DAZ, down, up, to zero */
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        __builtin_ia32_ldmxcsr(before | wrong[i]);
        const dm_status status = dm_float_env_check(NULL);
        __builtin_ia32_ldmxcsr(before);
        CK_MSG(status == DM_ERR_UNSUPPORTED, "MXCSR bit %x went unnoticed", wrong[i]);
    }
#endif
}

int main(void)
{
    char dir[] = "/tmp/dmpo-core-XXXXXX";
    dm_error err = {0};
    check_errors();
    check_arena_layout();
    check_arena_limits();
    check_arena_poison();
    check_philox();
    check_distributions();
    check_shuffle();
    check_sha256();
    if (CK(mkdtemp(dir) != NULL)) {
        check_files(dir);
        CK_MSG(dm_dir_remove(dir, &err) == DM_OK, "%s", err.message);
    }
    check_process();
    check_cpu();
    check_float_env();
    return ck_done("core");
}
