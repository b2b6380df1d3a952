/* What config.json says about rotary position embeddings. */
#include "model/network/config_internal.h"
#include "model/network/rope.h"

static dm_status check_partial(const dm_config_reader *r, const dm_json *from)
{
    const double one = 1;
    double factor;
    const dm_status s = dm_json_get_double(r->doc, from, "partial_rotary_factor", 0, 1, &one, &factor, r->err);

    if (s != DM_OK || factor == 1)
        return s;
    return dm_config_unsupported(r, dm_json_get(from, "partial_rotary_factor"),
                                 "partial_rotary_factor %g is not supported; 1 is", factor);
}

static dm_status read_number(const dm_config_reader *r, const dm_json *rope, const char *key, const double *fallback,
                             double *out)
{
    if (fallback && !dm_config_has(dm_json_get(rope, key))) { /* null is what transformers leaves open */
        *out = *fallback;
        return DM_OK;
    }
    return dm_json_get_double(r->doc, rope, key, 1e-9, 1e9, NULL, out, r->err);
}

static dm_status read_original(const dm_config_reader *r, const dm_json *rope, const int64_t *fallback)
{
    int64_t original = 0;
    const dm_status s = dm_json_get_int(r->doc, rope, "original_max_position_embeddings", 1, DM_CONFIG_SIZE_MAX,
                                        fallback, &original, r->err);

    r->c->rope_original = (uint32_t)original;
    return s;
}

/* Defaults as transformers' _compute_yarn_parameters has them. */
static dm_status read_yarn(const dm_config_reader *r, const dm_json *rope)
{
    const double fast = 32, slow = 1, none = 0;
    const int64_t positions = r->c->max_positions;
    const bool yes = true;
    dm_config *c = r->c;
    double scale, scale_all;
    dm_status s;

    if ((s = read_original(r, rope, &positions)) != DM_OK ||
        (s = read_number(r, rope, "beta_fast", &fast, &c->rope_fast)) != DM_OK ||
        (s = read_number(r, rope, "beta_slow", &slow, &c->rope_slow)) != DM_OK ||
        (s = read_number(r, rope, "mscale", &none, &scale)) != DM_OK ||
        (s = read_number(r, rope, "mscale_all_dim", &none, &scale_all)) != DM_OK ||
        (s = dm_json_get_bool(r->doc, rope, "truncate", &yes, &c->rope_whole, r->err)) != DM_OK)
        return s;
    const double log_factor = dm_rope_yarn_attention(c->rope_factor) - 1.0;
    const double usual =
        scale > 0 && scale_all > 0 ? (scale * log_factor + 1.0) / (scale_all * log_factor + 1.0) : log_factor + 1.0;
    return read_number(r, rope, "attention_factor", &usual, &c->rope_attention);
}

static dm_status read_scaling(const dm_config_reader *r, const dm_json *rope)
{
    static const char *const names[] = {[DM_ROPE_DEFAULT] = "default",
                                        [DM_ROPE_LINEAR] = "linear",
                                        [DM_ROPE_LLAMA3] = "llama3",
                                        [DM_ROPE_YARN] = "yarn"};
    const dm_json *type = dm_json_get(rope, "rope_type");
    dm_config *c = r->c;
    int kind = 0;
    dm_status s;

    if (!type)
        type = dm_json_get(rope, "type"); /* the older name */
    if (!dm_config_has(type))
        return DM_OK;
    if (type->type != DM_JSON_STRING)
        return dm_json_fail(r->doc, type, r->err,
                            "\"rope_type\" must be \"default\", \"linear\", \"llama3\" or \"yarn\"");
    while (kind <= DM_ROPE_YARN && !dm_json_is(type, names[kind]))
        kind++;
    if (kind > DM_ROPE_YARN)
        return dm_config_unsupported(r, type, "rope_type \"%s\" is not supported; default, linear, llama3 and yarn are",
                                     type->text);
    if ((c->rope = (dm_rope_kind)kind) == DM_ROPE_DEFAULT)
        return DM_OK;
    if ((s = dm_json_get_double(r->doc, rope, "factor", 1, 1e9, NULL, &c->rope_factor, r->err)) != DM_OK ||
        c->rope == DM_ROPE_LINEAR)
        return s;
    if (c->rope == DM_ROPE_YARN)
        return read_yarn(r, rope);
    if ((s = read_number(r, rope, "low_freq_factor", NULL, &c->rope_low)) != DM_OK ||
        (s = read_number(r, rope, "high_freq_factor", NULL, &c->rope_high)) != DM_OK)
        return s;
    return read_original(r, rope, NULL);
}

/* One set of keys: base and scaling. `theta`: the base where they have none. */
static dm_status read_set(const dm_config_reader *r, const dm_json *rope, double theta)
{
    dm_status s;

    if ((s = dm_json_get_double(r->doc, rope, "rope_theta", 1, 1e15, &theta, &r->c->rope_theta, r->err)) != DM_OK ||
        (s = check_partial(r, rope)) != DM_OK || !dm_config_has(rope))
        return s;
    return read_scaling(r, rope);
}

/* rope_parameters of their own for full_attention (scaled, as one likes) and sliding_attention (plain); older files
 * have rope_theta, rope_scaling and rope_local_base_freq. */
static dm_status read_gemma(const dm_config_reader *r, const dm_json *new, const dm_json *old)
{
    const double global = 1e6, local = 1e4;
    const dm_json *full = dm_json_get(new, "full_attention"), *sliding = dm_json_get(new, "sliding_attention");
    const dm_json *type = dm_json_get(sliding, "rope_type");
    double theta, local_theta;
    dm_status s;

    for (const dm_json *v = dm_config_has(new) ? new->child : NULL; v; v = v->next)
        if (v != full && v != sliding)
            return dm_config_unsupported(r, v,
                                         "\"%s\": Gemma 3's rope_parameters are those of full_attention and "
                                         "sliding_attention",
                                         v->key);
    if ((dm_config_has(full) && full->type != DM_JSON_OBJECT) ||
        (dm_config_has(sliding) && sliding->type != DM_JSON_OBJECT))
        return dm_json_fail(r->doc, new, r->err, "full_attention and sliding_attention must be objects");
    if (dm_config_has(type) && !dm_json_is(type, "default"))
        return dm_config_unsupported(r, type, "sliding_attention: RoPE scaling is not supported there; default is");
    if (dm_config_has(old) && dm_config_has(new))
        return dm_config_unsupported(r, old, "rope_scaling beside rope_parameters is not supported; leave one out");
    if ((s = dm_json_get_double(r->doc, r->root, "rope_theta", 1, 1e15, &global, &theta, r->err)) != DM_OK ||
        (s = dm_json_get_double(r->doc, r->root, "rope_local_base_freq", 1, 1e15, &local, &local_theta, r->err)) !=
            DM_OK ||
        (s = dm_json_get_double(r->doc, sliding, "rope_theta", 1, 1e15, &local_theta, &r->c->rope_local_theta,
                                r->err)) != DM_OK ||
        (s = check_partial(r, sliding)) != DM_OK)
        return s;
    return read_set(r, dm_config_has(new) ? full : old, theta);
}

dm_status dm_config_read_rope(const dm_config_reader *r)
{
    const double usual = r->c->arch == DM_ARCH_SMOLLM3 ? 2e6 : 1e4;
    const dm_json *new = dm_json_get(r->root, "rope_parameters"), *old = dm_json_get(r->root, "rope_scaling");
    const dm_json *const both[] = {new, old};
    double theta;
    dm_status s = check_partial(r, r->root);

    for (size_t i = 0; s == DM_OK && i < 2; i++)
        if (dm_config_has(both[i]) && both[i]->type != DM_JSON_OBJECT)
            s = dm_json_fail(r->doc, both[i], r->err, "\"%s\" must be an object or null", both[i]->key);
    if (s != DM_OK)
        return s;
    if (old && old->length == 0)
        old = NULL;
    if (dm_config_is_gemma(r->c))
        return read_gemma(r, new, old);
    /* rope_scaling wins over the newer name, as in transformers */
    const dm_json *rope = dm_config_has(old) ? old : new;
    for (const dm_json *v = dm_config_has(rope) ? rope->child : NULL; v; v = v->next)
        if (v->type == DM_JSON_OBJECT)
            return dm_config_unsupported(r, v, "RoPE parameters of their own for \"%s\" are not supported", v->key);
    if ((s = dm_json_get_double(r->doc, r->root, "rope_theta", 1, 1e15, &usual, &theta, r->err)) != DM_OK)
        return s;
    return read_set(r, rope, theta);
}
