/* The parts in which config.json is read. */
#ifndef DM_MODEL_NETWORK_CONFIG_INTERNAL_H
#define DM_MODEL_NETWORK_CONFIG_INTERNAL_H

#include "io/json.h"
#include "model/network/config.h"

/* The tokens that end a text: c->eos, then config.json's eos_token_id (`doc`), then that of
 * dir/generation_config.json. */
dm_status dm_config_read_ends(dm_config *c, const dm_json_doc *doc, const char *dir, dm_error *err);

#endif
