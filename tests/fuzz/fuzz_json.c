/* Any bytes as JSON and as JSON lines; what is read is written and read again, with the same content. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/json.h"
#include "tests/fuzz/targets.h"

#define PIPE_BYTES 4096 /* that a pipe takes without a reader */

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

/* What comes through a pipe is read as from a file. */
static void through_pipe(const uint8_t *data, size_t size)
{
    char path[32], hash[2][DM_SHA256_HEX];
    int ends[2];
    dm_json_doc *doc[2];
    dm_error err;

    FUZZ_CHECK(pipe(ends) == 0 && write(ends[1], data, size) == (ssize_t)size && close(ends[1]) == 0);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    const dm_status piped = dm_json_read_data(&doc[0], path, hash[0], &err),
                    read = dm_json_read_data(&doc[1], fuzz_file("data.json", data, size), hash[1], &err);
    FUZZ_CHECK(piped == read && (read != DM_OK || memcmp(hash[0], hash[1], DM_SHA256_HEX) == 0));
    dm_json_close(&doc[0]);
    dm_json_close(&doc[1]);
    close(ends[0]);
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
    if (size % 8 == 0 && size < PIPE_BYTES)
        through_pipe(data, size);
}
