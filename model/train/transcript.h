/* The transcript of a run: what went into each step and what came out, in a file that anybody can check.
 * docs/transcript.md specifies the format, and says what a leaf proves and what it does not.
 *
 * OUTPUT/transcript.bin is a header of 128 bytes and a record of 160 bytes for each step. The last 32 bytes of each are
 * its leaf: a hash of the leaf before and of the record, so two transcripts that differ anywhere differ from there on.
 * The leaves form a Merkle tree (RFC 6962), whose root is in run.json. */
#ifndef DM_MODEL_TRAIN_TRANSCRIPT_H
#define DM_MODEL_TRAIN_TRANSCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/files/input.h"
#include "core/sha256.h"
#include "simd/engine.h"

#define DM_TRANSCRIPT_FILE "transcript.bin"
#define DM_TRANSCRIPT_HEAD ((size_t)128)
#define DM_TRANSCRIPT_RECORD ((size_t)160)

/* ---- the state of a run ---- */

/* What the next step depends on: the values that are trained and AdamW's moments, `floats` of each. m, v NULL: of the
 * trained values alone, which is what a record covers (on several ranks none has all moments between checkpoints). */
typedef struct dm_train_state {
    const float *trained, *m, *v;
    size_t floats;
} dm_train_state;

#define DM_STATE_CHUNK ((size_t)16384) /* floats of each that one digest covers */

size_t dm_state_chunks(size_t floats);

/* SHA-256 over the digests of `n` chunks from `first` on, wrapping from the last to the first; on all threads. */
void dm_state_hash(const dm_engine *e, const dm_train_state *s, size_t first, size_t n, dm_digest *out);

/* How many chunks a step's record covers: enough for all of them once in 16,384 tokens, so that hashing stays a
 * small and constant share of computing. */
size_t dm_state_share(size_t chunks, int64_t tokens);

/* ---- the file ---- */

typedef struct dm_transcript_head {
    uint64_t steps, floats; /* that the run is to have; of its state */
    dm_digest identity;     /* dm_run_identity */
    dm_digest state;        /* all chunks before the first step */
    dm_digest leaf;         /* of the header: SHA-256(0x00, bytes 0..96) */
} dm_transcript_head;

typedef struct dm_transcript_record {
    uint64_t step;                /* from 1 */
    uint64_t epoch;               /* from 0: the stream of the random numbers that shuffle */
    uint64_t tokens;              /* of both sides of the batch's items; 0: a round had no items left for it */
    double loss, grad_norm, lr;   /* as in metrics.jsonl */
    uint64_t first_chunk, chunks; /* of the state, that `state` covers */
    dm_digest items;              /* SHA-256 over place in the data (8 bytes), id and NUL of each item; of a round's
                                   * items that of its episodes' file comes first */
    dm_digest state;              /* dm_state_hash of these chunks after the step */
    dm_digest leaf;               /* SHA-256(0x00, the leaf before, bytes 0..128) */
} dm_transcript_record;

/* To and from the file's bytes. Writing computes the leaf. */
void dm_transcript_head_bytes(dm_transcript_head *h, unsigned char out[DM_TRANSCRIPT_HEAD]);
void dm_transcript_record_bytes(dm_transcript_record *r, const dm_digest *before,
                                unsigned char out[DM_TRANSCRIPT_RECORD]);

/* Sets the next record's chunks by what the record before (NULL: the header) left off at. The last step covers all. */
void dm_transcript_cover(dm_transcript_record *r, const dm_transcript_head *h, const dm_transcript_record *before);

typedef struct dm_transcript {
    dm_input in;
    dm_transcript_head head;
    uint64_t n; /* records */
} dm_transcript;

/* Reads the header and checks its leaf and that the file holds whole records. `path` must outlive it. */
dm_status dm_transcript_open(dm_transcript *t, const char *path, dm_error *err);
void dm_transcript_close(dm_transcript *t); /* accepts a zeroed one */

/* Record of step `step`, from 1. `before` (may be NULL): also checks its leaf, which follows that one. */
dm_status dm_transcript_read(const dm_transcript *t, uint64_t step, const dm_digest *before, dm_transcript_record *out,
                             dm_error *err);

/* Checks every leaf, and gives the root of the tree over all of them, the header's being the first. */
dm_status dm_transcript_root(const dm_transcript *t, dm_digest *root, dm_error *err);

#endif
