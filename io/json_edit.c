#include "io/json_edit.h"

#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"

static const char *skip_space(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

/* The end of a string, number, word, object or array of valid JSON. */
static const char *skip_value(const char *s)
{
    unsigned depth = 0;
    do {
        if (*s == '"') {
            for (s++; *s != '"'; s++)
                s += *s == '\\';
            s++;
        } else if (*s == '{' || *s == '[') {
            depth++;
            s++;
        } else if (*s == '}' || *s == ']') {
            depth--;
            s++;
        } else if (depth > 0 && strchr(" \t\r\n,:", *s) != NULL) {
            s++;
        } else {
            s += strcspn(s, " \t\r\n,:{}[]\"");
        }
    } while (depth > 0);
    return s;
}

static void add_member(dm_text *out, size_t n, const char *space, size_t size, const char *key)
{
    dm_text_add(out, ",", n > 0);
    dm_text_add(out, space, size);
    dm_text_print(out, "\"%s\": ", key);
}

static void edit(dm_text *out, const char *s, const char *key, const char *value)
{
    const char *text = s, *space = s = skip_space(s) + 1, *first = space, *end;
    const size_t size = strlen(key);
    size_t n = 0, kept = 0; /* members written; bytes of the space before the first */
    bool found = false;
    dm_text_add(out, text, (size_t)(s - text)); /* up to the brace */
    for (s = skip_space(s); *s != '}'; s = skip_space(s)) {
        const char *name = s, *at = skip_space(skip_value(s));
        at = skip_space(at + 1); /* after the colon */
        end = skip_value(at);
        const bool same = strncmp(name + 1, key, size) == 0 && name[1 + size] == '"';
        kept = n == 0 && kept == 0 ? (size_t)(name - space) : kept;
        if (same && value != NULL) {
            dm_text_add(out, ",", n++ > 0);
            dm_text_add(out, space, (size_t)(at - space));
            dm_text_add(out, value, strlen(value));
        } else if (!same) {
            dm_text_add(out, ",", n++ > 0);
            dm_text_add(out, space, (size_t)(end - space));
        }
        found = found || same;
        s = skip_space(end);
        if (*s == ',') {
            space = ++s;
        } else {
            space = end;
        }
    }
    if (!found && value != NULL) {
        add_member(out, n, first, kept, key);
        dm_text_add(out, value, strlen(value));
    }
    dm_text_add(out, space, strlen(space));
}

dm_status dm_json_edit(dm_text *text, const char *key, const char *value, const char *name, dm_error *err)
{
    dm_json_doc *doc;
    dm_text out = {0};
    dm_status status = dm_json_parse(&doc, text->data, text->size, name, err);
    if (status == DM_OK && dm_json_root(doc)->type != DM_JSON_OBJECT)
        status = dm_json_fail(doc, dm_json_root(doc), err, "must be an object");
    dm_json_close(&doc);
    if (status != DM_OK)
        return status;
    edit(&out, text->data, key, value);
    if (out.failed) {
        dm_text_free(&out);
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory to change it", name);
    }
    dm_text_free(text);
    *text = out;
    return DM_OK;
}

dm_status dm_json_edit_file(const char *path, const char *key, const char *value, dm_error *err)
{
    char *data;
    size_t size;
    dm_text text = {0};
    dm_status status = dm_file_read(path, DM_JSON_BYTES, &data, &size, err);
    if (status != DM_OK)
        return status;
    dm_text_add(&text, data, size);
    free(data);
    if (text.failed)
        status = dm_fail(err, DM_ERR_MEMORY, "%s: no memory to change it", path);
    if (status == DM_OK)
        status = dm_json_edit(&text, key, value, path, err);
    if (status == DM_OK)
        status = dm_file_write(path, text.data, text.size, err);
    dm_text_free(&text);
    return status;
}
