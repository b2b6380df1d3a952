/* A model that a run uses, ready to be laid out: where its weights come from, and its adapter. */
#ifndef DM_MODEL_FORMATS_LOADED_MODEL_H
#define DM_MODEL_FORMATS_LOADED_MODEL_H

#include "model/network/network.h"
#include "model/formats/source.h"

typedef struct dm_loaded_model {
    dm_source *source; /* NULL: there is no such model */
    dm_lora lora;      /* lora.o.rank 0: without an adapter */
    float *adapter;    /* [lora.layout.floats] its values, placed by dm_loaded_model_place */
    char sha256[DM_SHA256_HEX], base_sha256[DM_SHA256_HEX]; /* base and adapter; the base: by dm_loaded_model_hash */
} dm_loaded_model;

/* path, base: what dm_source_open_on takes. dm_loaded_model_close is fine on a zeroed
 * struct. */
dm_status dm_loaded_model_open(dm_loaded_model *o, const char *path, const char *base, dm_error *err);
void dm_loaded_model_close(dm_loaded_model *o);
dm_status dm_loaded_model_hash(dm_loaded_model *o, dm_error *err);

/* The table of the base's tensors. stored: matrices keep the type that they have in the file. */
dm_status dm_loaded_model_layout(dm_param_layout *out, const dm_loaded_model *o, bool stored, dm_error *err);

/* Room for the adapter's values; nothing without one. */
void dm_loaded_model_place(dm_loaded_model *o, dm_arena *arena);

/* Reads the base into w[layout->floats], an array that was zeroed; and the adapter's values from its directory. */
dm_status dm_loaded_model_read_base(float *w, const dm_param_layout *layout, const dm_loaded_model *o, dm_error *err);
dm_status dm_loaded_model_read_adapter(dm_loaded_model *o, dm_error *err);

/* The network computes with this model's adapter, or with none. */
void dm_loaded_model_use(const dm_loaded_model *o, dm_network *n);

#endif
