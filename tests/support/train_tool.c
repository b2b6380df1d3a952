#define _DEFAULT_SOURCE /* wait4 */

#include "tests/support/train_tool.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/numbers/philox.h"
#include "dmpo.h"
#include "model/formats/tensors.h"
#include "model/network/config.h"
#include "model/network/params.h"
#include "tests/support/check.h"

static char work[256];

const char *join(char path[PATH], const char *dir, const char *name)
{
    snprintf(path, PATH, "%s/%s", dir, name);
    return path;
}

const char *at(const char *name)
{
    static char paths[32][PATH];
    char path[PATH];
    size_t i = 0;
    join(path, work, name);
    while (i < 31 && paths[i][0] && strcmp(paths[i], path) != 0)
        i++;
    memcpy(paths[i], path, PATH);
    return paths[i];
}

void work_open(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(work, sizeof work, "%s/dmpo-train.XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(work)) {
        perror(work);
        exit(2);
    }
}

void work_close(void)
{
    dm_dir_remove(work, NULL);
}

int fast(void)
{
    return getenv("DMPO_TEST_FAST") != NULL;
}

const dm_config small_shape = {
    .arch = DM_ARCH_LLAMA,
    .hidden = 24,
    .intermediate = 40,
    .layers = 2,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 6,
    .vocab = VOCAB,
    .max_positions = 256,
    .tied = true,
    .eps = 1e-5,
    .rope_theta = 10000,
    .bos = -1,
    .eos = -1,
};

void make_model(const char *dir, const dm_config *c)
{
    char hex[DM_SHA256_HEX];
    dm_param_layout layout = {0};
    dm_error err = {.status = DM_OK};
    dm_status s = dm_param_layout_build(&layout, c, &err);
    float *w = s == DM_OK ? calloc(layout.floats, sizeof *w) : NULL;

    if (w) {
        dm_weights_init(w, &layout, 7, 0.2);
        if ((s = dm_dir_create(dir, &err)) == DM_OK && (s = dm_config_write(c, DM_F32, dir, &err)) == DM_OK)
            s = dm_weights_write(w, &layout, dir, hex, &err);
    }
    CK_MSG(w && s == DM_OK, "%s: %s", dir, err.message);
    free(w);
    dm_param_layout_free(&layout);
}

/* A side of `turns` turns of 3 tokens, each after `gap` tokens, all after `prefix` tokens that both sides share. Ids
 * are below vocab, but for the last one but one when `marked`: it is vocab. */
static void put_side(FILE *f, uint64_t seed, uint64_t item, int side, int prefix, int turns, int gap, int vocab,
                     int marked)
{
    const int n = prefix + turns * (gap + 3);
    fprintf(f, "{\"ids\": [");
    for (int i = 0; i < n; i++) {
        const uint64_t stream = i < prefix ? item : item + 1000 * (uint64_t)(side + 1);
        const double u = dm_random_uniform(seed, DM_RNG_TEST, stream, (uint64_t)i);
        fprintf(f, "%s%d", i ? ", " : "", marked && i == n - 2 ? vocab : (int)(u * vocab));
    }
    fprintf(f, "], \"turns\": [");
    for (int t = 0; t < turns; t++) {
        const int end = prefix + (t + 1) * (gap + 3);
        fprintf(f, "%s[%d, %d]", t ? ", " : "", end - 3, end);
    }
    fprintf(f, "]}");
}

void make_pairs(const char *path, uint64_t seed, int n, int prefix, int gap, int vocab, int marked)
{
    FILE *f = fopen(path, "w");
    if (!CK_MSG(f != NULL, "%s: cannot write", path))
        return;
    for (int i = 0; i < n; i++) {
        fprintf(f, "{\"id\": \"pair %d\", \"chosen\": ", i);
        put_side(f, seed, (uint64_t)i, 0, prefix + i, 1 + i % 3, gap, vocab, i == marked);
        fprintf(f, ", \"rejected\": ");
        put_side(f, seed, (uint64_t)i, 1, prefix + i, 2 + i % 2, gap, vocab, 0);
        fprintf(f, "}\n");
    }
    fclose(f);
}

outcome train(const dm_train_options *o, const char *isa, unsigned threads, dmpo_event_fn event, void *context)
{
    outcome out = {0};
    dmpo_engine *engine = NULL;
    dmpo_error error = {0};

    out.status = dmpo_engine_open(&engine, isa, threads, &error);
    if (out.status == DMPO_OK)
        out.status = dm_train(engine, o, event, context, &out.result, &error);
    dmpo_engine_close(&engine);
    memcpy(out.message, error.message, sizeof out.message);
    return out;
}

outcome in_child(void (*body)(outcome *out, void *context), void *context)
{
    outcome out = {0};
    struct rusage usage;
    int pipes[2], state = 0;

    fflush(stdout);
    if (pipe(pipes) != 0) {
        perror("pipe");
        exit(2);
    }
    const pid_t child = fork();
    if (child == 0) {
        close(pipes[0]);
        body(&out, context);
        for (size_t done = 0; done < sizeof out;) {
            const ssize_t n = write(pipes[1], (const char *)&out + done, sizeof out - done);
            if (n <= 0)
                _exit(1);
            done += (size_t)n;
        }
        _exit(0);
    }
    close(pipes[1]);
    for (size_t done = 0; done < sizeof out;) {
        const ssize_t n = read(pipes[0], (char *)&out + done, sizeof out - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(pipes[0]);
    if (child < 0 || wait4(child, &state, 0, &usage) != child) {
        perror("fork");
        exit(2);
    }
    out.signal = WIFSIGNALED(state) ? WTERMSIG(state) : 0;
    out.peak = (uint64_t)usage.ru_maxrss * 1024;
    return out;
}

char *slurp(const char *path)
{
    char *data = NULL;
    size_t size;
    if (dm_file_read(path, (size_t)1 << 30, &data, &size, NULL) != DM_OK)
        return NULL;
    return data;
}

int same_file(const char *a, const char *b)
{
    char x[DM_SHA256_HEX], y[DM_SHA256_HEX];
    return dm_file_sha256(a, x, NULL) == DM_OK && dm_file_sha256(b, y, NULL) == DM_OK && strcmp(x, y) == 0;
}

static char *figures(const char *path)
{
    char *text = slurp(path), *from = text, *to = text, *cut;
    if (!text)
        return NULL;
    while ((cut = strstr(from, "\"tokens_per_second\"")) != NULL) {
        char *end = strstr(cut, "\"tokens\"");
        if (!end)
            break;
        memmove(to, from, (size_t)(cut - from));
        to += cut - from;
        from = end;
    }
    memmove(to, from, strlen(from) + 1);
    return text;
}

int same_figures(const char *a, const char *b)
{
    char *x = figures(a), *y = figures(b);
    const int same = x && y && strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

void check_same_run(const char *a, const char *b, const char *what)
{
    static const char *const files[] = {"model.safetensors", "config.json", "checkpoint/model.safetensors",
                                        "checkpoint/optimizer.safetensors", "transcript.bin"};
    char x[PATH], y[PATH];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        CK_MSG(same_file(join(x, a, files[i]), join(y, b, files[i])), "%s: %s differs", what, files[i]);
    CK_MSG(same_figures(join(x, a, "metrics.jsonl"), join(y, b, "metrics.jsonl")), "%s: metrics.jsonl differs", what);
}

int same_metrics(const dmpo_metrics *a, const dmpo_metrics *b)
{
    return a->step == b->step && a->loss == b->loss && a->reward_chosen == b->reward_chosen &&
           a->reward_rejected == b->reward_rejected && a->reward_margin == b->reward_margin &&
           a->reward_accuracy == b->reward_accuracy && a->logp_chosen == b->logp_chosen &&
           a->logp_rejected == b->logp_rejected;
}
