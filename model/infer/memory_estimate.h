/* The memory that a model asks for, without data: what a plan would say of sequences of a given length. */
#ifndef DM_MODEL_INFER_MEMORY_ESTIMATE_H
#define DM_MODEL_INFER_MEMORY_ESTIMATE_H

#include "model/formats/source.h"
#include "simd/engine.h"

typedef struct dm_memory_estimate {
    size_t tokens;     /* the sequences' length */
    size_t run;        /* generation: weights as they are stored, keys and values of one sequence */
    size_t train;      /* of all weights: they, gradients, moments and activations of one sequence */
    size_t train_less; /* the same when layers are run again in the backward */
} dm_memory_estimate;

/* tokens: or the model's positions, where those are fewer. What program, tokenizer and data take comes on top. */
dm_status dm_memory_estimate_of(dm_memory_estimate *out, const dm_engine *e, const dm_source *s, size_t tokens,
                                dm_error *err);

#endif
