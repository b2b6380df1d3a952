/* Adapters as PEFT stores them: a directory with adapter_config.json and adapter_model.safetensors (F32; read as F16
 * and BF16 too). The configuration names the base; the safetensors metadata hold the base's hash when we wrote it. */
#ifndef DM_MODEL_FORMATS_ADAPTER_H
#define DM_MODEL_FORMATS_ADAPTER_H

#include <stdbool.h>

#include "core/files/path.h"
#include "core/sha256.h"
#include "model/network/lora.h"

bool dm_adapter_is(const char *path); /* a directory with adapter_config.json */

/* What adapter_config.json says; base (the path of the base model, where it was found: as written, or as seen from the
 * adapter's directory) may be NULL. What the engine does not do (DoRA, biases, other modules, ranks by pattern, ...) is
 * refused by name. */
dm_status dm_adapter_config(dm_lora_options *out, dm_path *base, const char *dir, dm_error *err);

/* Reads the adapter's values into w[lora->layout.floats]. base_sha256: of the base in use; an adapter that was trained
 * on another one is refused. */
dm_status dm_adapter_read(float *w, const dm_lora *lora, const char *dir, const char *base_sha256, dm_error *err);

/* Writes both files into dir, the weights last; hex receives their SHA-256. base: what the configuration is to name. */
dm_status dm_adapter_write(const float *w, const dm_lora *lora, const char *dir, const char *base,
                           const char *base_sha256, char hex[DM_SHA256_HEX], dm_error *err);

/* On entry hex is the base's hash; on return one over it and the hashes of both files. */
dm_status dm_adapter_sha256(const char *dir, char hex[DM_SHA256_HEX], dm_error *err);

/* "all" or names separated by commas ("q,v") as bits. */
dm_status dm_lora_targets(unsigned *out, const char *text, dm_error *err);

#endif
