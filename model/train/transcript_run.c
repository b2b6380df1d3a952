/* A run's own transcript: its header, a record after each step, and where a resumed run goes on. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "model/train/rounds.h"

static dm_train_state trained_of(const dm_run *r)
{
    return (dm_train_state){.trained = r->memory.trained, .floats = r->models.trained_layout->floats};
}

void dm_run_transcript_head(const dm_run *r, dm_transcript_head *h)
{
    const dm_train_state state = trained_of(r);
    char hex[DM_SHA256_HEX];
    unsigned char bytes[DM_TRANSCRIPT_HEAD];

    *h = (dm_transcript_head){.steps = (uint64_t)r->steps, .floats = state.floats};
    dm_run_identity(r, hex);
    dm_digest_read(&h->identity, hex);
    dm_state_hash(r->engine, &state, 0, dm_state_chunks(state.floats), &h->state);
    dm_transcript_head_bytes(h, bytes);
}

static void hash_items(const dm_run *r, const uint32_t *items, size_t n, dm_digest *out)
{
    dm_sha256 h;

    dm_sha256_init(&h);
    if (r->policy)
        dm_sha256_update(&h, r->policy->digest.byte, sizeof r->policy->digest.byte);
    for (size_t i = 0; i < n; i++) {
        const char *id = r->train.data.items[items[i]].id;
        const uint32_t at = items[i];
        const unsigned char place[8] = {(unsigned char)at, (unsigned char)(at >> 8), (unsigned char)(at >> 16),
                                        (unsigned char)(at >> 24)};
        dm_sha256_update(&h, place, sizeof place);
        dm_sha256_update(&h, id, strlen(id) + 1);
    }
    dm_sha256_digest(&h, out);
}

void dm_run_transcript_record(dm_run *r, const dmpo_metrics *m, const dm_transcript_head *head,
                              const dm_transcript_record *before, dm_transcript_record *out,
                              unsigned char bytes[DM_TRANSCRIPT_RECORD])
{
    const dm_train_state state = trained_of(r);
    size_t n;
    const uint32_t *items = dm_run_batch(r, m->step - 1, &n);

    *out = (dm_transcript_record){.step = (uint64_t)m->step,
                                  .epoch = (uint64_t)dm_run_epoch(r, m->step - 1),
                                  .tokens = (uint64_t)m->tokens,
                                  .loss = m->loss,
                                  .grad_norm = m->grad_norm,
                                  .lr = m->lr};
    dm_transcript_cover(out, head, before);
    hash_items(r, items, n, &out->items);
    dm_state_hash(r->engine, &state, (size_t)out->first_chunk, (size_t)out->chunks, &out->state);
    dm_transcript_record_bytes(out, before ? &before->leaf : &head->leaf, bytes);
}

/* ---- the file ---- */

static dm_status fail_write(const dm_run *r, const char *what, dm_error *err)
{
    return dm_fail(err, DM_ERR_FILE, "%s/" DM_TRANSCRIPT_FILE ": cannot %s: %s", r->options.output, what,
                   strerror(errno));
}

static dm_status append(const dm_run *r, const unsigned char *bytes, size_t size, dm_error *err)
{
    for (size_t at = 0; at < size;) {
        const ssize_t n = write(r->output.transcript_fd, bytes + at, size - at);
        if (n < 0 && errno != EINTR)
            return fail_write(r, "write", err);
        at += n > 0 ? (size_t)n : 0;
    }
    return DM_OK;
}

static dm_status open_file(dm_run *r, int flags, dm_error *err)
{
    dm_path path;
    const dm_status s = dm_path_in(&path, r->options.output, DM_TRANSCRIPT_FILE, err);

    if (s != DM_OK)
        return s;
    r->output.transcript_fd = dm_open(path.text, O_RDWR | O_APPEND | flags);
    return r->output.transcript_fd >= 0 ? DM_OK : fail_write(r, "open", err);
}

dm_status dm_run_transcript_remove(const dm_run *r, dm_error *err)
{
    dm_path path;
    const dm_status s = dm_path_in(&path, r->options.output, DM_TRANSCRIPT_FILE, err);

    if (s != DM_OK)
        return s;
    return unlink(path.text) == 0 || errno == ENOENT ? DM_OK : fail_write(r, "remove", err);
}

dm_status dm_run_transcript_begin(dm_run *r, dm_error *err)
{
    unsigned char bytes[DM_TRANSCRIPT_HEAD];
    dm_status s = dm_run_transcript_remove(r, err);

    if (s != DM_OK || !r->options.transcript || (s = open_file(r, O_CREAT, err)) != DM_OK)
        return s;
    dm_run_transcript_head(r, &r->output.transcript_head);
    dm_transcript_head_bytes(&r->output.transcript_head, bytes);
    r->output.transcript_last = (dm_transcript_record){0};
    return append(r, bytes, sizeof bytes, err);
}

/* Opens what an earlier process wrote, and finds the record after which the run goes on. */
static dm_status find_record(dm_run *r, int64_t step, const char *path, const char *leaf, dm_error *err)
{
    dm_transcript t;
    char found[DM_SHA256_HEX];
    dm_status s = dm_transcript_open(&t, path, err);

    r->output.transcript_head = t.head;
    if (s == DM_OK)
        s = dm_transcript_read(&t, (uint64_t)step, NULL, &r->output.transcript_last, err);
    dm_transcript_close(&t);
    if (s != DM_OK)
        return s;
    dm_digest_hex(&r->output.transcript_last.leaf, found);
    return strcmp(found, leaf) == 0
               ? DM_OK
               : dm_fail(err, DM_ERR_INPUT, "%s: is not the transcript that the checkpoint belongs to", path);
}

dm_status dm_run_transcript_continue(dm_run *r, int64_t step, const char *leaf, dm_error *err)
{
    dm_path path;
    const off_t size = (off_t)(DM_TRANSCRIPT_HEAD + (size_t)step * DM_TRANSCRIPT_RECORD);
    dm_error why;

    if (!leaf || !r->options.transcript)
        return dm_run_transcript_remove(r, err);
    dm_status s = dm_path_in(&path, r->options.output, DM_TRANSCRIPT_FILE, err);
    if (s != DM_OK || (s = open_file(r, 0, err)) != DM_OK)
        return s;
    /* A killed run leaves half a record, which makes the file's size none of a transcript: cut first. */
    if (lseek(r->output.transcript_fd, 0, SEEK_END) < size)
        return dm_fail(err, DM_ERR_INPUT,
                       "%s: has fewer than the checkpoint's %lld steps; put that file back, or resume with "
                       "`no-transcript`",
                       path.text, (long long)step);
    if (ftruncate(r->output.transcript_fd, size) != 0)
        return fail_write(r, "cut", err);
    s = find_record(r, step, path.text, leaf, &why);
    return s == DM_OK ? DM_OK : dm_fail(err, s, "%s; put that file back, or resume with `no-transcript`", why.message);
}

dm_status dm_run_transcript_add(dm_run *r, const dmpo_metrics *m, dm_error *err)
{
    unsigned char bytes[DM_TRANSCRIPT_RECORD];
    const dm_transcript_record before = r->output.transcript_last;

    if (r->output.transcript_fd < 0)
        return DM_OK;
    dm_run_transcript_record(r, m, &r->output.transcript_head, before.step ? &before : NULL, &r->output.transcript_last,
                             bytes);
    return append(r, bytes, sizeof bytes, err);
}

dm_status dm_run_transcript_sync(const dm_run *r, dm_error *err)
{
    return r->output.transcript_fd < 0 || fsync(r->output.transcript_fd) == 0 ? DM_OK : fail_write(r, "write", err);
}

const char *dm_run_transcript_leaf(const dm_run *r, char hex[DM_SHA256_HEX])
{
    const dm_run_output *o = &r->output;

    if (o->transcript_fd < 0)
        return NULL;
    dm_digest_hex(o->transcript_last.step ? &o->transcript_last.leaf : &o->transcript_head.leaf, hex);
    return hex;
}

dm_status dm_run_transcript_root(const dm_run *r, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_path path;
    dm_transcript t;
    dm_digest root;
    dm_status s = dm_path_in(&path, r->options.output, DM_TRANSCRIPT_FILE, err);

    hex[0] = '\0';
    if (s != DM_OK || r->output.transcript_fd < 0)
        return s;
    if ((s = dm_transcript_open(&t, path.text, err)) == DM_OK && (s = dm_transcript_root(&t, &root, err)) == DM_OK)
        dm_digest_hex(&root, hex);
    dm_transcript_close(&t);
    return s;
}
