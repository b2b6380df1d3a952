/* The parts in which config.json is read. */
#ifndef DM_MODEL_NETWORK_CONFIG_INTERNAL_H
#define DM_MODEL_NETWORK_CONFIG_INTERNAL_H

#include "io/json.h"
#include "model/network/config.h"

#define DM_CONFIG_SIZE_MAX ((int64_t)INT32_MAX)

typedef struct dm_config_reader {
    const dm_json_doc *doc;
    const dm_json *root;
    dm_config *c;
    dm_error *err;
} dm_config_reader;

static inline bool dm_config_has(const dm_json *v)
{
    return v && v->type != DM_JSON_NULL;
}

/* A message that begins with v's place. */
dm_status dm_config_unsupported(const dm_config_reader *r, const dm_json *v, const char *fmt, ...) DM_PRINTF(3, 4);
/* A size, 1 .. most; fallback 0: the key is required. */
dm_status dm_config_size(const dm_config_reader *r, const char *key, int64_t most, uint32_t fallback, uint32_t *out);
dm_status dm_config_flag(const dm_config_reader *r, const char *key, bool fallback, bool *out);

/* RoPE: base and scaling, in both forms of the keys. (model/network/config_rope.c) */
dm_status dm_config_read_rope(const dm_config_reader *r);
/* Which layers use a window, and which the angles of windowed layers or none. After the RoPE.
 * (model/network/config_layers.c) */
dm_status dm_config_read_layers(const dm_config_reader *r);
/* The tokens that end a text: c->eos, then config.json's eos_token_id (`doc`), then that of
 * dir/generation_config.json. */
dm_status dm_config_read_ends(dm_config *c, const dm_json_doc *doc, const char *dir, dm_error *err);

#endif
