/* Any bytes as JSON and as JSON lines; what is read is written and read again, with the same content. */
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "tests/fuzz/targets.h"

static void write_value(dm_text *t, const dm_json *v)
{
    switch (v->type) {
    case DM_JSON_NULL:
        dm_text_print(t, "null");
        break;
    case DM_JSON_BOOL:
        dm_text_print(t, v->boolean ? "true" : "false");
        break;
    case DM_JSON_NUMBER:
        if (v->is_integer && v->integer != 0)
            dm_text_print(t, "%lld", (long long)v->integer);
        else
            dm_text_json_double(t, v->number);
        break;
    case DM_JSON_STRING:
        dm_text_json_string(t, v->text, v->length);
        break;
    default:
        dm_text_print(t, v->type == DM_JSON_ARRAY ? "[" : "{");
        for (const dm_json *c = v->child; c; c = c->next) {
            if (c->key) {
                dm_text_json_string(t, c->key, c->key_length);
                dm_text_print(t, ":");
            }
            write_value(t, c);
            dm_text_print(t, c->next ? "," : "");
        }
        dm_text_print(t, v->type == DM_JSON_ARRAY ? "]" : "}");
    }
}

void fuzz_json(const uint8_t *data, size_t size)
{
    dm_json_doc *doc, *again;
    dm_error err;

    if (dm_json_parse(&doc, (const char *)data, size, "fuzz", &err) == DM_OK) {
        dm_text first = {0}, second = {0};
        write_value(&first, dm_json_root(doc));
        FUZZ_CHECK(dm_json_parse(&again, first.data, first.size, "again", &err) == DM_OK);
        write_value(&second, dm_json_root(again));
        FUZZ_CHECK(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
        dm_json_close(&again);
        dm_text_free(&first);
        dm_text_free(&second);
    }
    dm_json_close(&doc);
    (void)dm_json_parse_lines(&doc, (const char *)data, size, "fuzz", &err);
    dm_json_close(&doc);
}
