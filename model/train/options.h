/* The options of training, from one table (model/train/options.def). */
#ifndef DM_MODEL_TRAIN_OPTIONS_H
#define DM_MODEL_TRAIN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/sha256.h"
#include "model/loss/loss.h"
#include "model/option.h"
#include "model/train/optimizer.h"
#include "model/train/shards.h"
#include "simd/precision.h"

typedef struct dm_train_options { /* a field for each row, typed by it */
#define TEXT(field, ...) const char *field;
#define INTEGER(field, ...) int64_t field;
#define REAL(field, ...) double field;
#define SEED(field, ...) uint64_t field;
#define BYTES(field, ...) uint64_t field;
#define FLAG(field, ...) bool field;
#define AUTO(field, ...) int field;
#define CHOICE(field, type, ...) type field;
#include "model/train/options.def"
} dm_train_options;

/* The authors' defaults (arXiv 2406.14868 and its code) for the objective; paths are NULL. */
void dm_train_defaults(dm_train_options *o, dm_objective_kind objective);

/* Refuses what is out of range, what is missing, and options that the objective would not read. */
dm_status dm_train_options_check(const dm_train_options *o, dm_error *err);

/* Names of the enumerations, NULL at their end. */
extern const char *const dm_objective_names[],
    *const dm_link_names[], *const dm_phi_names[], *const dm_alpha_mode_names[], *const dm_alpha_pairing_names[];

/* "dmpo"; static. */
const char *dm_objective_name(dm_objective_kind kind);

/* Weights of links from "NAME:WEIGHT,..."; NULL: all 0. */
dm_status dm_link_mix_parse(const char *text, double mix[DM_LINKS], dm_error *err);

/* What they say of the loss. */
dm_loss_options dm_train_loss_options(const dm_train_options *o);

typedef enum dm_identity { /* which part of a run's identity an option's value is in */
                           DM_IDENTITY_NOTHING,
                           DM_IDENTITY_ELSEWHERE,
                           DM_IDENTITY_NUMBERS,
                           DM_IDENTITY_KTO,
                           DM_IDENTITY_MRPO,
                           DM_IDENTITY_SIMPO,
                           DM_IDENTITY_DISCOPOP,
                           DM_IDENTITY_SHARDS,
                           DM_IDENTITY_PRECISION,
                           DM_IDENTITIES
} dm_identity;

/* Hashes " VALUE" for each option of this part, in the table's order: exact, and the same in every locale. */
void dm_train_options_hash(const dm_train_options *o, dm_identity part, dm_sha256 *h);

/* Of the public object. */
const dm_train_options *dm_train_options_values(const dmpo_train_options *options);

#endif
