/* The document of io/json.h, shared by the parser and the queries. */
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

#endif
