/* The document of io/json.h and its parser, shared by reading, parsing and the queries. */
#ifndef DM_IO_JSON_INTERNAL_H
#define DM_IO_JSON_INTERNAL_H

#include "core/numbers/block.h"
#include "io/json.h"

struct dm_json_doc {
    dm_json root;
    dm_block *values; /* all values below the root */
    char *name;
    char *text; /* the file's bytes, strings decoded in place */
    size_t size;
    size_t bytes; /* of the mapping that begins here: document, name, text */
};

typedef struct dm_json_parser {
    dm_json_doc *doc;
    char *at, *end; /* what is left; *end may be read only as part of the mapping */
    char *line_begin;
    uint32_t line;
    const char *end_name;  /* "end of the file" or "end of the line" */
    const dm_json **slots; /* hash table of the object that is being checked */
    size_t slots_bytes;
    dm_error *err;
} dm_json_parser;

void dm_json_skip_space(dm_json_parser *p);
/* p->at is at the value's first byte. depth: how many arrays and objects are around it. */
dm_status dm_json_parse_value(dm_json_parser *p, dm_json *v, unsigned depth);
/* Fails with "expected X, found Y", Y being the byte at hand; open: the array or object that is not finished, or NULL.
 */
dm_status dm_json_expected(dm_json_parser *p, const char *expected, const dm_json *open);

#endif
