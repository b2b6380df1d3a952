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

static void hash_chunks(void *context, unsigned part, unsigned parts)
{
    const chunk_task *t = context;
    const dm_range r = dm_range_split(t->n, 1, part, parts);

    for (size_t i = r.begin; i < r.end; i++) {
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
