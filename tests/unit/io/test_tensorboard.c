/* TensorBoard's event files: known checksums, the framing byte by byte, and what a run writes: every figure of
 * metrics.jsonl once, however often it was stopped and resumed, without a change in any other file. */
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "dmpo.h"
#include "io/json.h"
#include "io/tensorboard.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

#define FILE_NAME "events.out.tfevents.dmpo"

/* ---- checksums: RFC 3720, appendix B.4, and CRC-32C's check value ---- */

static void checksums(void)
{
    unsigned char bytes[32];

    CK(dm_crc32c("123456789", 9) == 0xe3069283u);
    CK(dm_crc32c("", 0) == 0);
    memset(bytes, 0, sizeof bytes);
    CK(dm_crc32c(bytes, 32) == 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    CK(dm_crc32c(bytes, 32) == 0x62a8ab43u);
    for (unsigned char i = 0; i < 32; i++)
        bytes[i] = i;
    CK(dm_crc32c(bytes, 32) == 0x46dd794eu);
    for (unsigned char i = 0; i < 32; i++)
        bytes[i] = (unsigned char)(31 - i);
    CK(dm_crc32c(bytes, 32) == 0x113fdb5cu);
    CK(dm_crc32c_masked("", 0) == 0xa282ead8u);
    CK(dm_crc32c_masked("123456789", 9) == 0xc78ab0e5u);
}

/* ---- records ---- */

static uint64_t little(const unsigned char *p, size_t bytes)
{
    uint64_t value = 0;
    while (bytes-- > 0)
        value = value << 8 | p[bytes];
    return value;
}

/* The data of the record at p, its size in *size; NULL when it is not whole. */
static const unsigned char *record(const unsigned char *p, const unsigned char *end, size_t *size)
{
    if (end - p < 16 || little(p + 8, 4) != dm_crc32c_masked(p, 8))
        return NULL;
    *size = (size_t)little(p, 8);
    if ((size_t)(end - p) < *size + 16 || little(p + 12 + *size, 4) != dm_crc32c_masked(p + 12, *size))
        return NULL;
    return p + 12;
}

/* What the protobuf library makes of Event(wall_time=1.5, file_version="brain.Event:2") and of Event(wall_time=1.5,
 * step=300, summary=...) with train/lr 0.5 and train/grad_norm -2. */
static const unsigned char version[] = {0x09, 0,   0,   0,   0,   0,   0,   0xf8, 0x3f, 0x1a, 0x0d, 'b',
                                        'r',  'a', 'i', 'n', '.', 'E', 'v', 'e',  'n',  't',  ':',  '2'};
static const unsigned char scalars[] = {
    0x09, 0,   0,   0,   0,   0,   0,   0xf8, 0x3f, 0x10, 0xac, 0x02, 0x2a, 0x29, 0x0a, 0x0f, 0x0a, 0x08, 't',
    'r',  'a', 'i', 'n', '/', 'l', 'r', 0x15, 0,    0,    0,    0x3f, 0x0a, 0x16, 0x0a, 0x0f, 't',  'r',  'a',
    'i',  'n', '/', 'g', 'r', 'a', 'd', '_',  'n',  'o',  'r',  'm',  0x15, 0,    0,    0,    0xc0};

static void bytes(void)
{
    static const dm_tensorboard_scalar three[] = {{"lr", 0.5}, {"no", (double)NAN}, {"grad_norm", -2}};
    static char long_tag[DM_TENSORBOARD_RECORD];
    unsigned char out[DM_TENSORBOARD_RECORD];
    size_t size = 0, n = dm_tensorboard_begin(out, 1.5);
    const unsigned char *data = record(out, out + n, &size);

    CK(data && n == size + 16 && size == sizeof version && memcmp(data, version, size) == 0);
    n = dm_tensorboard_scalars(out, 1.5, 300, "train", three, 3);
    data = record(out, out + n, &size);
    CK(data && n == size + 16 && size == sizeof scalars && memcmp(data, scalars, size) == 0);
    memset(long_tag, 'x', sizeof long_tag - 1);
    CK(dm_tensorboard_scalars(out, 0, 0, "train", &(dm_tensorboard_scalar){long_tag, 1}, 1) == 0);
}

/* ---- what a run writes ---- */

static uint64_t varint(const unsigned char **p)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        const unsigned char byte = *(*p)++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
}

/* "KIND/TAG STEP VALUE" lines of an event; it has the form of the one above. */
static void put_event(dm_text *out, const unsigned char *p, const unsigned char *end)
{
    p += 9; /* wall_time */
    if (!CK(*p++ == 0x10))
        return;
    const uint64_t step = varint(&p);
    if (!CK(*p++ == 0x2a) || !CK(varint(&p) == (uint64_t)(end - p)))
        return;
    while (p < end) {
        float value;
        if (!CK(*p++ == 0x0a) || !CK(varint(&p) <= (uint64_t)(end - p)) || !CK(*p++ == 0x0a))
            return;
        const size_t tag = (size_t)varint(&p);
        const uint32_t bits = (uint32_t)little(p + tag + 1, 4);
        memcpy(&value, &bits, sizeof value);
        dm_text_print(out, "%.*s %llu %.9g\n", (int)tag, (const char *)p, (unsigned long long)step, (double)value);
        p += tag + 5;
    }
}

static char *events_text(const char *path)
{
    char *file = NULL;
    size_t n = 0, size = 0, records = 0;
    dm_text text = {0};

    if (!CK(dm_file_read(path, 1 << 20, &file, &n, NULL) == DM_OK))
        return NULL;
    const unsigned char *p = (const unsigned char *)file, *end = p + n, *data;
    for (; (data = record(p, end, &size)) != NULL; p = data + size + 4)
        if (records++ == 0)
            CK(size == sizeof version && memcmp(data + 9, version + 9, size - 9) == 0);
        else
            put_event(&text, data, data + size);
    CK_MSG(p == end, "%s: %zu bytes after record %zu", path, (size_t)(end - p), records);
    free(file);
    return text.data;
}

/* The same lines from metrics.jsonl. */
static char *metrics_text(const char *path)
{
    dm_json_doc *doc = NULL;
    dm_text text = {0};

    if (!CK(dm_json_read_any(&doc, path, NULL) == DM_OK))
        return NULL;
    for (const dm_json *line = dm_json_root(doc)->child; line; line = line->next) {
        const char *kind = dm_json_get(line, "kind")->text;
        const long long step = (long long)dm_json_get(line, "step")->integer;
        const int eval = strcmp(kind, "eval") == 0;
        for (const dm_json *v = line->child->next->next; v; v = v->next) {
            const char *key = v->key;
            if (v->type == DM_JSON_NUMBER && strcmp(key, "tokens") != 0 && strcmp(key, "action_tokens") != 0 &&
                !(eval && (strcmp(key, "lr") == 0 || strcmp(key, "grad_norm") == 0)))
                dm_text_print(&text, "%s/%s %lld %.9g\n", kind, key, step, (double)(float)v->number);
        }
    }
    dm_json_close(&doc);
    return text.data;
}

static void check_events(const char *what)
{
    char *events = events_text(at("run/" FILE_NAME)), *metrics = metrics_text(at("run/metrics.jsonl"));
    CK_MSG(events && metrics && strcmp(events, metrics) == 0, "%s: the events are not the metrics:\n%s\n%s", what,
           events ? events : "", metrics ? metrics : "");
    free(events);
    free(metrics);
}

static dm_train_options options(int tensorboard)
{
    dm_train_options o;
    dm_train_defaults(&o, DM_OBJECTIVE_KTO);
    o.model = at("model");
    o.data = at("pairs.jsonl");
    o.eval_data = at("eval.jsonl");
    o.output = at("run");
    o.lr = 1e-2;
    o.batch = 3;
    o.steps = 5;
    o.eval_every = 2;
    o.tensorboard = tensorboard;
    return o;
}

typedef struct stop {
    int events, at; /* steps and evaluations; 0: never */
} stop;

static int stop_at(void *context, const dmpo_event *event)
{
    stop *s = context;
    if (event->kind == DMPO_EVENT_STEP || event->kind == DMPO_EVENT_EVAL)
        s->events++;
    return s->events == s->at && s->at > 0;
}

/* Fresh or resumed, up to an event. */
static outcome run(int tensorboard, int resume, int until)
{
    dm_train_options o = options(tensorboard);
    stop s = {0, until};
    o.resume = resume;
    o.overwrite = !resume;
    o.checkpoint_every = 2; /* what is written after one is written again */
    return train(&o, NULL, 2, stop_at, &s);
}

static void runs(void)
{
    dm_train_options o = options(0);
    char what[64];

    o.output = at("base");
    CK(train(&o, NULL, 1, NULL, NULL).status == DMPO_OK);
    CK(!dm_file_exists(at("base/" FILE_NAME)));
    for (int n = 0; n <= 8; n++) {
        snprintf(what, sizeof what, "stopped after %d events", n);
        CK(run(1, 0, n).status == (n ? DMPO_ERR_INTERRUPTED : DMPO_OK));
        CK(run(1, 1, 0).status == DMPO_OK);
        check_events(what);
        check_same_run(at("base"), at("run"), what);
        CK(run(1, 1, 0).status == DMPO_OK); /* finished: nothing is added */
        check_events("finished and resumed");
    }
}

/* In a child that is killed, so that lines lie after the last checkpoint. */
static int die_at(void *context, const dmpo_event *event)
{
    if (stop_at(context, event))
        raise(SIGKILL);
    return 0;
}

static void run_and_die(outcome *out, void *context)
{
    dm_train_options o = options(1);
    stop s = {0, *(const int *)context};
    o.checkpoint_every = 2;
    *out = train(&o, NULL, 1, die_at, &s);
}

static void killed(void)
{
    for (int n = 2; n <= 8; n += 2) {
        char what[64];
        snprintf(what, sizeof what, "killed after %d events", n);
        dm_dir_remove(at("run"), NULL);
        CK(in_child(run_and_die, &n).signal == SIGKILL);
        CK(run(1, 1, 0).status == DMPO_OK);
        check_events(what);
        check_same_run(at("base"), at("run"), what);
    }
}

static void mixed(void)
{
    /* A second half without the option leaves the first half's events, cut where it began. */
    CK(run(1, 0, 4).status == DMPO_ERR_INTERRUPTED);
    char *half = events_text(at("run/" FILE_NAME)), *now;
    CK(run(0, 1, 0).status == DMPO_OK);
    now = events_text(at("run/" FILE_NAME));
    CK(half && now && strcmp(half, now) == 0);
    free(half);
    free(now);
    check_same_run(at("base"), at("run"), "without events");

    /* A fresh run without it removes an older run's. */
    CK(run(0, 0, 4).status == DMPO_ERR_INTERRUPTED);
    CK(!dm_file_exists(at("run/" FILE_NAME)));
    CK(run(1, 1, 0).status == DMPO_OK); /* events of the second half only */
    now = events_text(at("run/" FILE_NAME));
    CK(now && !strstr(now, "train/loss 1 ") && strstr(now, "train/loss 5 "));
    free(now);

    /* A file that has lost something is not continued. */
    CK(run(1, 0, 4).status == DMPO_ERR_INTERRUPTED);
    CK(truncate(at("run/" FILE_NAME), 100) == 0);
    const outcome got = run(1, 1, 0);
    CK_MSG(got.status == DMPO_ERR_INPUT && strstr(got.message, FILE_NAME " has 100 bytes"), "%s", got.message);
    CK(run(0, 1, 0).status == DMPO_OK);

    /* A run that fails before its first line leaves nothing. */
    dm_dir_remove(at("run"), NULL);
    dm_train_options o = options(1);
    o.eval_data = NULL;
    o.sft_weight = 1e300;
    CK(train(&o, NULL, 1, NULL, NULL).status == DMPO_ERR_NONFINITE);
    CK(!dm_dir_exists(at("run")));
}

int main(void)
{
    checksums();
    bytes();
    work_open();
    make_model(at("model"), &small_shape);
    make_pairs(at("pairs.jsonl"), 1, 7, 4, 2, VOCAB, -1);
    make_pairs(at("eval.jsonl"), 2, 4, 4, 2, VOCAB, -1);
    runs();
    killed();
    mixed();
    work_close();
    return ck_done("tensorboard");
}
