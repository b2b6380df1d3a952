/* Transcripts: the tree against a plain recursion, chunks and their cover, a file that is read back, a bit that is
 * flipped, the same bytes after a stop and for any number of threads, odds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "core/files/file.h"
#include "model/train/verify.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

#define MOST 20

static dm_digest tree(const dm_digest *leaf, size_t n)
{
    dm_digest both[2], out;
    dm_sha256 h;
    size_t k = 1;

    if (n == 1)
        return leaf[0];
    while (2 * k < n)
        k *= 2;
    both[0] = tree(leaf, k);
    both[1] = tree(leaf + k, n - k);
    dm_sha256_init(&h);
    dm_sha256_update(&h, "\1", 1);
    dm_sha256_update(&h, both, sizeof both);
    dm_sha256_digest(&h, &out);
    return out;
}

/* A file of n records, and its root by recursion. */
static void roots(void)
{
    static unsigned char file[DM_TRANSCRIPT_HEAD + MOST * DM_TRANSCRIPT_RECORD];
    dm_digest leaf[MOST + 1], root;
    dm_transcript_head head = {.steps = MOST, .floats = 3 * DM_STATE_CHUNK - 5};
    dm_transcript_record r = {0};
    dm_transcript t;
    dm_error err;

    dm_transcript_head_bytes(&head, file);
    leaf[0] = head.leaf;
    for (size_t n = 1; n <= MOST; n++) {
        const dm_transcript_record before = r;
        r = (dm_transcript_record){.step = n, .tokens = 10000, .loss = 1.0 / (double)n};
        dm_transcript_cover(&r, &head, n > 1 ? &before : NULL);
        CK(r.first_chunk == (n > 1 ? (before.first_chunk + before.chunks) % 3 : 0));
        CK(r.chunks == (n == MOST ? 3 : 2));
        unsigned char *place = file + DM_TRANSCRIPT_HEAD + (n - 1) * DM_TRANSCRIPT_RECORD;
        dm_transcript_record_bytes(&r, &leaf[n - 1], place);
        leaf[n] = r.leaf;
        CK(dm_file_write(at("t"), file, DM_TRANSCRIPT_HEAD + n * DM_TRANSCRIPT_RECORD, NULL) == DM_OK);
        CK(dm_transcript_open(&t, at("t"), &err) == DM_OK && dm_transcript_root(&t, &root, &err) == DM_OK);
        const dm_digest want = tree(leaf, n + 1);
        CK_MSG(memcmp(&root, &want, sizeof root) == 0, "%zu leaves", n + 1);
        dm_transcript_close(&t);
    }
    for (size_t bit = 0; bit < 8 * sizeof file; bit += 499) {
        file[bit / 8] ^= (unsigned char)(1 << bit % 8);
        CK(dm_file_write(at("t"), file, sizeof file, NULL) == DM_OK);
        dm_digest other;
        const bool whole =
            dm_transcript_open(&t, at("t"), &err) == DM_OK && dm_transcript_root(&t, &other, &err) == DM_OK;
        CK_MSG(!whole, "bit %zu flipped unseen", bit);
        dm_transcript_close(&t);
        file[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

/* Chunks as docs/transcript.md has them, for every number of threads. */
static void states(void)
{
    enum { FLOATS = 5 * 16384 + 7 };
    static float value[3][FLOATS];
    const dm_train_state s = {value[0], value[1], value[2], FLOATS};
    dm_digest digest[6], want, got;
    dm_sha256 h;

    for (size_t i = 0; i < sizeof value / sizeof(float); i++)
        value[i / FLOATS][i % FLOATS] = (float)(i * 37 % 1001) - 500;
    for (size_t c = 0; c < 6; c++) {
        dm_sha256_init(&h);
        for (size_t k = 0; k < 3; k++)
            dm_sha256_update(&h, value[k] + c * 16384, (c < 5 ? 16384 : 7) * sizeof(float));
        dm_sha256_digest(&h, &digest[c]);
    }
    dm_sha256_init(&h);
    dm_sha256_update(&h, &digest[4], 2 * sizeof *digest);
    dm_sha256_update(&h, digest, 2 * sizeof *digest);
    dm_sha256_digest(&h, &want);
    for (unsigned threads = 1; threads <= 3; threads++) {
        dm_engine e;
        CK(dm_engine_open(&e, DM_ISA_SCALAR, threads, NULL) == DM_OK);
        dm_state_hash(&e, &s, 4, 4, &got);
        CK_MSG(memcmp(&want, &got, sizeof got) == 0, "%u threads", threads);
        dm_engine_close(&e);
    }
    CK(dm_state_share(930, 16384) == 930 && dm_state_share(930, 1024) == 59 && dm_state_share(1, 1) == 1);
}

static dm_train_options options(const char *output)
{
    dm_train_options o;

    dm_train_defaults(&o, DM_OBJECTIVE_DMPO);
    o.model = at("model");
    o.data = at("pairs.jsonl");
    o.eval_data = at("pairs.jsonl");
    o.output = output;
    o.lr = 1e-2;
    o.batch = 3;
    o.steps = 9;
    o.eval_every = 4;
    o.checkpoint_every = 2;
    o.keep_checkpoints = true;
    return o;
}

static int stop_at_five(void *context, const dmpo_event *event)
{
    (void)context;
    return event->kind == DMPO_EVENT_STEP && event->done == 5;
}

static void runs(void)
{
    dm_train_options o = options(at("a"));

    outcome got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == DMPO_OK, "%s", got.message);
    char root[DM_SHA256_HEX];
    snprintf(root, sizeof root, "%s", got.result.transcript_sha256);
    CK(strlen(root) == 64);
    o = options(at("b"));
    CK(train(&o, NULL, 2, stop_at_five, NULL).status == DMPO_ERR_INTERRUPTED);
    o.resume = true;
    got = train(&o, NULL, 3, NULL, NULL);
    CK(got.status == DMPO_OK && strcmp(got.result.transcript_sha256, root) == 0);
    CK(same_file(at("a/transcript.bin"), at("b/transcript.bin")));
    CK(dm_dir_exists(at("a/checkpoint-8")) && !dm_dir_exists(at("a/checkpoint.old")));
    o.resume = false;
    o.overwrite = true;
    o.transcript = false;
    o.keep_checkpoints = false;
    got = train(&o, NULL, 1, NULL, NULL);
    CK(got.status == DMPO_OK && got.result.transcript_sha256[0] == '\0');
    CK(!dm_file_exists(at("b/transcript.bin")) && !dm_dir_exists(at("b/checkpoint-8")));
}

static int count(void *context, bool refuted, const char *text)
{
    (void)text;
    *(int *)context += refuted;
    return 0;
}

static dm_verify_result verify(int64_t sample, uint64_t seed, int *findings)
{
    const dm_train_options o = options(at("a"));
    const dm_verify_options v = {.run = at("a"), .sample = sample, .seed = seed};
    dm_verify_result result;
    dmpo_engine *engine = NULL;
    dm_transcript t;
    dm_digest digest = {{0}};
    char root[DM_SHA256_HEX];
    dm_error err = {0};

    CK(dmpo_engine_open(&engine, NULL, 2, NULL) == DMPO_OK);
    if (dm_transcript_open(&t, at("a/transcript.bin"), NULL) == DM_OK)
        dm_transcript_root(&t, &digest, NULL);
    dm_transcript_close(&t);
    dm_digest_hex(&digest, root);
    *findings = 0;
    CK_MSG(dm_verify_run(engine, &o, &v, root, count, findings, NULL, NULL, &result, &err) == DM_OK, "%s", err.message);
    dmpo_engine_close(&engine);
    CK(result.refuted == *findings);
    return result;
}

/* Leaf 6 claims another loss; the chain after it is made anew, and so is the line of metrics.jsonl: only the replay of
 * the step can tell. */
static void forge(void)
{
    static unsigned char file[DM_TRANSCRIPT_HEAD + 9 * DM_TRANSCRIPT_RECORD];
    dm_transcript t;
    dm_transcript_record r[9];
    dm_text lines = {0};
    dm_error err;

    CK(dm_transcript_open(&t, at("a/transcript.bin"), &err) == DM_OK && t.n == 9);
    dm_transcript_head_bytes(&t.head, file);
    dm_digest before = t.head.leaf;
    for (size_t i = 0; i < 9; i++) {
        CK(dm_transcript_read(&t, i + 1, NULL, &r[i], &err) == DM_OK);
        r[i].loss = i == 5 ? 0.5 : r[i].loss;
        dm_transcript_record_bytes(&r[i], &before, file + DM_TRANSCRIPT_HEAD + i * DM_TRANSCRIPT_RECORD);
        before = r[i].leaf;
    }
    dm_transcript_close(&t);
    CK(dm_file_write(at("a/transcript.bin"), file, sizeof file, NULL) == DM_OK);
    char *text = slurp(at("a/metrics.jsonl")), *line = text ? strstr(text, "\"train\", \"step\": 6,") : NULL;
    char *loss = line ? strstr(line, "\"loss\": ") : NULL;
    CK(loss != NULL);
    if (loss) {
        dm_text_add(&lines, text, (size_t)(loss - text));
        dm_text_print(&lines, "\"loss\": 0.5%s", strchr(loss, ','));
        CK(dm_file_write(at("a/metrics.jsonl"), lines.data, lines.size, NULL) == DM_OK);
    }
    dm_text_free(&lines);
    free(text);
}

static void verification(void)
{
    int findings;
    dm_verify_result v = verify(0, 0, &findings);

    CK(findings == 0 && v.steps == 9 && v.replayed == 9 && v.proved == 9 && v.checkpoints == 5 && v.weights);
    v = verify(2, 3, &findings);
    CK(findings == 0 && v.chosen == 2 && v.replayed >= 2 && v.replayed <= 4 && v.proved == v.replayed && v.weights);
    forge();
    v = verify(0, 0, &findings);
    CK_MSG(v.proved == 8 && findings == 2, "%d findings, %d proved", findings, (int)v.proved); /* leaf and line */
    int seen = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        verify(1, seed, &findings);
        seen += findings > 0;
    }
    CK_MSG(seen > 0 && seen < 12, "%d of 12 single steps refute", seen);
}

static void odds(void)
{
    CK(fabs(dm_verify_odds(100, 10, 1) - 0.9) < 1e-12);
    CK(fabs(dm_verify_odds(10, 3, 2) - 7.0 * 6 / (10 * 9)) < 1e-12);
    CK(dm_verify_odds(10, 10, 1) == 0 && dm_verify_odds(10, 8, 3) == 0);
}

int main(void)
{
    work_open();
    make_model(at("model"), &small_shape);
    make_pairs(at("pairs.jsonl"), 1, 11, 4, 2, VOCAB, -1);
    roots();
    states();
    runs();
    verification();
    odds();
    work_close();
    return ck_done("transcript");
}
