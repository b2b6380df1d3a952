/* The shape of a model: what config.json says, checked. */
#ifndef DM_MODEL_NETWORK_CONFIG_H
#define DM_MODEL_NETWORK_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "core/numbers/dtype.h"
#include "io/json.h"

#define DM_LAYERS_MAX 512
#define DM_GEMMA_PATTERN 6    /* Gemma 3: every sixth layer sees everything */
#define DM_SMOLLM3_INTERVAL 4 /* SmolLM3: every fourth layer has no RoPE */
#define DM_ENDS_MAX 32        /* tokens that end a text */

typedef enum dm_arch {
    DM_ARCH_LLAMA,
    DM_ARCH_MISTRAL,
    DM_ARCH_QWEN2,
    DM_ARCH_QWEN3,
    DM_ARCH_GEMMA3,
    DM_ARCH_SMOLLM3,
    DM_ARCH_COUNT
} dm_arch;
typedef enum dm_rope_kind { DM_ROPE_DEFAULT, DM_ROPE_LINEAR, DM_ROPE_LLAMA3, DM_ROPE_YARN } dm_rope_kind;

/* Which angles a layer's queries and keys are turned by. */
typedef enum dm_rope_use { DM_ROPE_MAIN, DM_ROPE_LOCAL, DM_ROPE_NONE } dm_rope_use;

typedef struct dm_config {
    dm_arch arch;
    uint32_t hidden, intermediate, layers, heads, kv_heads, head_dim, vocab;
    uint32_t max_positions;
    uint32_t window;                 /* keys a query sees in windowed layers, itself included; 0: no such layer */
    uint8_t windowed[DM_LAYERS_MAX]; /* layer uses the window */
    uint8_t rope_use[DM_LAYERS_MAX]; /* dm_rope_use: LOCAL in Gemma 3's windowed layers, NONE in some of SmolLM3's */
    bool qkv_bias;                   /* Qwen2, Llama's attention_bias */
    bool o_bias;                     /* Llama's attention_bias */
    bool qk_norm;                    /* Qwen3, Gemma 3: RMSNorm per head on q and k before RoPE */
    bool tied;                       /* lm_head is embed_tokens */
    double eps;
    double rope_theta;
    dm_rope_kind rope;
    double rope_factor, rope_low, rope_high; /* linear, yarn: factor; llama3: all three */
    uint32_t rope_original;                  /* llama3, yarn: original_max_position_embeddings */
    double rope_fast, rope_slow;             /* yarn: beta_fast, beta_slow */
    double rope_attention;                   /* yarn: attention_factor */
    bool rope_whole;                         /* yarn: truncate, the range in whole frequencies */
    double rope_local_theta;                 /* Gemma 3 */
    double query_scalar;                     /* Gemma 3: query_pre_attn_scalar; 0: head_dim */
    int32_t bos, eos;                        /* -1: none; the first of a list */
    int32_t ends[DM_ENDS_MAX];               /* [n_ends] every id that ends a text: eos, the rest of its list, ... */
    uint32_t n_ends;
} dm_config;

const char *dm_arch_name(dm_arch arch); /* "llama" ... as model_type */

/* Gemma 3: GeGLU, norms of 1 + w, two more of them in a layer, embedding times sqrt(hidden). */
static inline bool dm_config_is_gemma(const dm_config *c)
{
    return c->arch == DM_ARCH_GEMMA3;
}

/* Adds an id to config.ends, unless it is there (or -1). false: no room. */
bool dm_config_add_end(dm_config *c, int32_t id);

/* What generation stops at: config.ends and the template's end of turn (-1: none). Returns how many. */
size_t dm_config_stops(int32_t out[DM_ENDS_MAX + 1], const dm_config *c, int32_t end_of_turn);

/* Reads dir/config.json, and the ends of dir/generation_config.json. Both forms of the RoPE keys (rope_theta +
 * rope_scaling, and rope_parameters) are read. What the engine does not do (another activation, attention or MLP
 * biases, partial rotary, experts, …) is refused by name. */
dm_status dm_config_read(dm_config *out, const char *dir, dm_error *err);

/* The same from an object of a document; dir NULL: it does not matter what ends a text. */
dm_status dm_config_parse(dm_config *out, const dm_json_doc *doc, const dm_json *root, const char *dir, dm_error *err);

/* Sets what an architecture's published models have, and GGUF has no keys for: Gemma 3's windowed layers (every
 * `pattern`th has no window), their RoPE and query scale, SmolLM3's layers without RoPE. Others are left alone. */
void dm_config_usual_layers(dm_config *c, uint32_t pattern);

/* Checks the ranges of a configuration made by hand; `where` begins the message. */
dm_status dm_config_check(const dm_config *c, const char *where, dm_error *err);

/* Writes dir/config.json for transformers; stored: F32, F16 or BF16, the type of the weights beside it. */
dm_status dm_config_write(const dm_config *c, dm_dtype stored, const char *dir, dm_error *err);

/* Appends what dm_config_write writes. */
void dm_config_text(dm_text *t, const dm_config *c, dm_dtype stored);

/* Copies from/config.json to dir/config.json with every key kept but the stored type. */
dm_status dm_config_copy(const char *from, dm_dtype stored, const char *dir, dm_error *err);

#endif
