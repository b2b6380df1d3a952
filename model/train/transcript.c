#include "model/train/transcript.h"

#include <string.h>

static const char magic[8] = {'D', 'M', 'P', 'O', 'T', 'R', 'A', 'N'};
#define VERSION 1
#define LEVELS 64 /* of the tree */
#define TOKENS_A_STATE 16384

/* ---- bytes ---- */

static void put64(unsigned char *out, uint64_t x)
{
    for (size_t i = 0; i < 8; i++)
        out[i] = (unsigned char)(x >> (8 * i));
}

static uint64_t get64(const unsigned char *in)
{
    uint64_t x = 0;
    for (size_t i = 0; i < 8; i++)
        x |= (uint64_t)in[i] << (8 * i);
    return x;
}

static void put_double(unsigned char *out, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put64(out, bits);
}

static double get_double(const unsigned char *in)
{
    const uint64_t bits = get64(in);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void leaf_of(const dm_digest *before, const unsigned char *bytes, size_t size, dm_digest *out)
{
    dm_sha256 h;

    dm_sha256_init(&h);
    dm_sha256_update(&h, "\0", 1);
    if (before)
        dm_sha256_update(&h, before->byte, sizeof before->byte);
    dm_sha256_update(&h, bytes, size);
    dm_sha256_digest(&h, out);
}

void dm_transcript_head_bytes(dm_transcript_head *h, unsigned char out[DM_TRANSCRIPT_HEAD])
{
    memcpy(out, magic, sizeof magic);
    put64(out + 8, VERSION);
    put64(out + 16, h->steps);
    put64(out + 24, h->floats);
    memcpy(out + 32, h->identity.byte, 32);
    memcpy(out + 64, h->state.byte, 32);
    leaf_of(NULL, out, 96, &h->leaf);
    memcpy(out + 96, h->leaf.byte, 32);
}

void dm_transcript_record_bytes(dm_transcript_record *r, const dm_digest *before,
                                unsigned char out[DM_TRANSCRIPT_RECORD])
{
    put64(out, r->step);
    put64(out + 8, r->epoch);
    put64(out + 16, r->tokens);
    put_double(out + 24, r->loss);
    put_double(out + 32, r->grad_norm);
    put_double(out + 40, r->lr);
    put64(out + 48, r->first_chunk);
    put64(out + 56, r->chunks);
    memcpy(out + 64, r->items.byte, 32);
    memcpy(out + 96, r->state.byte, 32);
    leaf_of(before, out, 128, &r->leaf);
    memcpy(out + 128, r->leaf.byte, 32);
}

size_t dm_state_share(size_t chunks, int64_t tokens)
{
    if (tokens >= TOKENS_A_STATE)
        return chunks;
    return (size_t)(((uint64_t)chunks * (uint64_t)tokens + TOKENS_A_STATE - 1) / TOKENS_A_STATE);
}

void dm_transcript_cover(dm_transcript_record *r, const dm_transcript_head *h, const dm_transcript_record *before)
{
    const size_t chunks = dm_state_chunks((size_t)h->floats);

    r->first_chunk = before ? (before->first_chunk + before->chunks) % chunks : 0;
    r->chunks = r->step == h->steps ? chunks : dm_state_share(chunks, (int64_t)r->tokens);
}

/* ---- reading ---- */

dm_status dm_transcript_open(dm_transcript *t, const char *path, dm_error *err)
{
    unsigned char bytes[DM_TRANSCRIPT_HEAD];
    dm_digest leaf;
    dm_transcript_head *h = &t->head;

    *t = (dm_transcript){0};
    dm_status s = dm_input_open(&t->in, path, err);
    if (s != DM_OK || (s = dm_input_read(&t->in, bytes, sizeof bytes, 0, err)) != DM_OK)
        return s;
    if (memcmp(bytes, magic, sizeof magic) != 0 || get64(bytes + 8) != VERSION)
        return dm_fail(err, DM_ERR_INPUT,
                       "%s: no transcript of version %d; it must begin with DMPOTRAN and that number", path, VERSION);
    h->steps = get64(bytes + 16);
    h->floats = get64(bytes + 24);
    memcpy(h->identity.byte, bytes + 32, 32);
    memcpy(h->state.byte, bytes + 64, 32);
    memcpy(h->leaf.byte, bytes + 96, 32);
    leaf_of(NULL, bytes, 96, &leaf);
    if (memcmp(leaf.byte, h->leaf.byte, 32) != 0)
        return dm_fail(err, DM_ERR_INPUT, "%s: the header's leaf is not the hash of the header", path);
    if (h->floats == 0 || h->floats > SIZE_MAX / 4)
        return dm_fail(err, DM_ERR_INPUT, "%s: a state of %llu floats", path, (unsigned long long)h->floats);
    t->n = (t->in.size - DM_TRANSCRIPT_HEAD) / DM_TRANSCRIPT_RECORD;
    if (t->in.size != DM_TRANSCRIPT_HEAD + t->n * DM_TRANSCRIPT_RECORD)
        return dm_fail(err, DM_ERR_INPUT, "%s: %llu bytes, must be %zu and %zu for each step", path,
                       (unsigned long long)t->in.size, DM_TRANSCRIPT_HEAD, DM_TRANSCRIPT_RECORD);
    return t->n <= h->steps ? DM_OK
                            : dm_fail(err, DM_ERR_INPUT, "%s: has %llu steps, the run %llu", path,
                                      (unsigned long long)t->n, (unsigned long long)h->steps);
}

void dm_transcript_close(dm_transcript *t)
{
    if (t->in.path)
        dm_input_close(&t->in);
    *t = (dm_transcript){0};
}

dm_status dm_transcript_read(const dm_transcript *t, uint64_t step, const dm_digest *before, dm_transcript_record *out,
                             dm_error *err)
{
    unsigned char b[DM_TRANSCRIPT_RECORD];
    dm_digest leaf;

    if (step == 0 || step > t->n)
        return dm_fail(err, DM_ERR_INPUT, "%s: has no step %llu, only %llu", t->in.path, (unsigned long long)step,
                       (unsigned long long)t->n);
    const dm_status s = dm_input_read(&t->in, b, sizeof b, DM_TRANSCRIPT_HEAD + (step - 1) * DM_TRANSCRIPT_RECORD, err);
    if (s != DM_OK)
        return s;
    *out = (dm_transcript_record){.step = get64(b),
                                  .epoch = get64(b + 8),
                                  .tokens = get64(b + 16),
                                  .loss = get_double(b + 24),
                                  .grad_norm = get_double(b + 32),
                                  .lr = get_double(b + 40),
                                  .first_chunk = get64(b + 48),
                                  .chunks = get64(b + 56)};
    memcpy(out->items.byte, b + 64, 32);
    memcpy(out->state.byte, b + 96, 32);
    memcpy(out->leaf.byte, b + 128, 32);
    if (before) {
        leaf_of(before, b, 128, &leaf);
        if (memcmp(leaf.byte, out->leaf.byte, 32) != 0)
            return dm_fail(err, DM_ERR_INPUT,
                           "%s: the leaf of step %llu does not follow from the one before and the step", t->in.path,
                           (unsigned long long)step);
    }
    return DM_OK;
}

static dm_digest node_of(const dm_digest *left, const dm_digest *right)
{
    dm_sha256 h;
    dm_digest out;

    dm_sha256_init(&h);
    dm_sha256_update(&h, "\1", 1);
    dm_sha256_update(&h, left->byte, 32);
    dm_sha256_update(&h, right->byte, 32);
    dm_sha256_digest(&h, &out);
    return out;
}

dm_status dm_transcript_root(const dm_transcript *t, dm_digest *root, dm_error *err)
{
    dm_digest whole[LEVELS]; /* of 2^level leaves each, for the set bits of the number of leaves so far */
    dm_digest leaf = t->head.leaf;

    for (uint64_t i = 0;; i++) { /* leaf i */
        dm_digest node = leaf;
        size_t level = 0;
        for (; i >> level & 1; level++)
            node = node_of(&whole[level], &node);
        whole[level] = node;
        if (i == t->n)
            break;
        dm_transcript_record r;
        const dm_status s = dm_transcript_read(t, i + 1, &leaf, &r, err);
        if (s != DM_OK)
            return s;
        if (r.step != i + 1)
            return dm_fail(err, DM_ERR_INPUT, "%s: record %llu says that it is step %llu", t->in.path,
                           (unsigned long long)i + 1, (unsigned long long)r.step);
        leaf = r.leaf;
    }
    bool any = false;
    for (size_t level = 0; level < LEVELS; level++) {
        if (!((t->n + 1) >> level & 1))
            continue;
        *root = any ? node_of(&whole[level], root) : whole[level];
        any = true;
    }
    return DM_OK;
}
