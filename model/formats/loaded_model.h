/* A model that a run uses, ready to be laid out: where its weights come from, and its adapter. */
#ifndef DM_MODEL_FORMATS_LOADED_MODEL_H
#define DM_MODEL_FORMATS_LOADED_MODEL_H

#include "model/network/network.h"
#include "model/formats/source.h"

typedef struct dm_origin {
    dm_source *source; /* NULL: there is no such model */
    dm_lora lora;      /* lora.o.rank 0: without an adapter */
    float *adapter;    /* [lora.layout.floats] its values, placed by dm_origin_place */
    char sha256[DM_SHA256_HEX], base_sha256[DM_SHA256_HEX]; /* base and adapter; the base: by dm_origin_hash */
} dm_origin;

/* path: what dm_source_open takes, an adapter's directory included. dm_origin_close is fine on a zeroed struct. */
dm_status dm_origin_open(dm_origin *o, const char *path, dm_error *err);
void dm_origin_close(dm_origin *o);
dm_status dm_origin_hash(dm_origin *o, dm_error *err);

/* The table of the base's tensors. stored: matrices keep the type that they have in the file. */
dm_status dm_origin_layout(dm_layout *out, const dm_origin *o, int stored, dm_error *err);

/* Room for the adapter's values; nothing without one. */
void dm_origin_place(dm_origin *o, dm_arena *arena);

/* Reads the base into w[layout->floats], an array that was zeroed; and the adapter's values from its directory. */
dm_status dm_origin_read_base(float *w, const dm_layout *layout, const dm_origin *o, dm_error *err);
dm_status dm_origin_read_adapter(dm_origin *o, dm_error *err);

/* The network computes with this origin's adapter, or with none. */
void dm_origin_use(const dm_origin *o, dm_network *n);

#endif
