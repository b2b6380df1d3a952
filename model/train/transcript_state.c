/* The hash of a run's state, chunk by chunk on all threads. No allocation: it runs in the training loop. */
#include "model/train/transcript.h"

#define WINDOW 256 /* chunks at once */

typedef struct chunk_task {
    const dm_train_state *s;
    size_t first, n, chunks;
    dm_digest *out; /* [n] */
} chunk_task;

size_t dm_state_chunks(size_t floats)
{
    return (floats + DM_STATE_CHUNK - 1) / DM_STATE_CHUNK;
}

/* Chunks i to i + 3, if there are so many before `end`, in one piece and full, and of the trained values alone. */
static bool take_four(const chunk_task *t, size_t i, size_t end)
{
    const size_t chunk = (t->first + i) % t->chunks;
    const void *data[DM_SHA256_LANES];

    if (t->s->m || i + DM_SHA256_LANES > end || (chunk + DM_SHA256_LANES) * DM_STATE_CHUNK > t->s->floats)
        return false;
    for (size_t k = 0; k < DM_SHA256_LANES; k++)
        data[k] = t->s->trained + (chunk + k) * DM_STATE_CHUNK;
    dm_sha256_four(data, DM_STATE_CHUNK * sizeof(float), &t->out[i]);
    return true;
}

static void hash_chunks(void *context, unsigned part, unsigned parts)
{
    const chunk_task *t = context;
    const dm_range r = dm_range_split(t->n, 1, part, parts);

    for (size_t i = r.begin; i < r.end; i++) {
        if (take_four(t, i, r.end)) {
            i += DM_SHA256_LANES - 1;
            continue;
        }
        const size_t begin = (t->first + i) % t->chunks * DM_STATE_CHUNK, left = t->s->floats - begin;
        const size_t bytes = (left < DM_STATE_CHUNK ? left : DM_STATE_CHUNK) * sizeof(float);
        dm_sha256 h;
        dm_sha256_init(&h);
        dm_sha256_update(&h, t->s->trained + begin, bytes);
        if (t->s->m) {
            dm_sha256_update(&h, t->s->m + begin, bytes);
            dm_sha256_update(&h, t->s->v + begin, bytes);
        }
        dm_sha256_digest(&h, &t->out[i]);
    }
}

void dm_state_hash(const dm_engine *e, const dm_train_state *s, size_t first, size_t n, dm_digest *out)
{
    dm_digest digest[WINDOW];
    dm_sha256 h;

    dm_sha256_init(&h);
    for (size_t done = 0; done < n; done += WINDOW) {
        const size_t now = n - done < WINDOW ? n - done : WINDOW;
        chunk_task task = {s, first + done, now, dm_state_chunks(s->floats), digest};
        dm_pool_run_sized(e->pool, 3 * DM_STATE_CHUNK * now, hash_chunks, &task);
        for (size_t i = 0; i < now; i++)
            dm_sha256_update(&h, digest[i].byte, sizeof digest[i].byte);
    }
    dm_sha256_digest(&h, out);
}
