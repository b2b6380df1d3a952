/* The tokens that end a text. */
#include <string.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "model/network/config_internal.h"

bool dm_config_add_end(dm_config *c, int32_t id)
{
    for (uint32_t i = 0; i < c->n_ends; i++)
        if (c->ends[i] == id)
            return true;
    if (id < 0)
        return true;
    if (c->n_ends == DM_ENDS_MAX)
        return false;
    c->ends[c->n_ends++] = id;
    return true;
}

size_t dm_config_stops(int32_t out[DM_ENDS_MAX + 1], const dm_config *c, int32_t end_of_turn)
{
    size_t n = c->n_ends;
    bool there = end_of_turn < 0;

    memcpy(out, c->ends, n * sizeof *out);
    for (size_t i = 0; i < n; i++)
        there = there || out[i] == end_of_turn;
    if (!there)
        out[n++] = end_of_turn;
    return n;
}

static dm_status fail_token(const dm_json_doc *doc, const dm_json *v, const char *key, dm_error *err)
{
    return dm_json_fail(doc, v, err, "\"%s\" must be a token id, a list of at most %d of them or null", key,
                        DM_ENDS_MAX);
}

static bool is_token(const dm_json *v)
{
    return v->type == DM_JSON_NUMBER && v->is_integer && v->integer >= -1 && v->integer <= INT32_MAX;
}

/* Every id of eos_token_id, one or a list. */
static dm_status read_ends(dm_config *c, const dm_json_doc *doc, dm_error *err)
{
    static const char key[] = "eos_token_id";
    const dm_json *v = dm_json_get(dm_json_root(doc), key);

    if (!v || v->type == DM_JSON_NULL)
        return DM_OK;
    for (const dm_json *id = v->type == DM_JSON_ARRAY ? v->child : v; id;
         id = v->type == DM_JSON_ARRAY ? id->next : NULL)
        if (!is_token(id) || !dm_config_add_end(c, (int32_t)id->integer))
            return fail_token(doc, id, key, err);
    return DM_OK;
}

/* generation_config.json says what transformers' generate stops at, config.json may know less. */
static dm_status read_generation(dm_config *c, const char *dir, dm_error *err)
{
    dm_path path;
    dm_json_doc *doc = NULL;
    dm_status s = dm_path_in(&path, dir, "generation_config.json", err);

    if (s != DM_OK || !dm_file_exists(path.text) || (s = dm_json_read(&doc, path.text, err)) != DM_OK)
        return s;
    if (dm_json_root(doc)->type != DM_JSON_OBJECT)
        s = dm_json_fail(doc, dm_json_root(doc), err, "must be an object");
    else
        s = read_ends(c, doc, err);
    dm_json_close(&doc);
    return s;
}

dm_status dm_config_read_ends(dm_config *c, const dm_json_doc *doc, const char *dir, dm_error *err)
{
    dm_status s;

    dm_config_add_end(c, c->eos);
    if ((s = read_ends(c, doc, err)) != DM_OK)
        return s;
    return read_generation(c, dir, err);
}
