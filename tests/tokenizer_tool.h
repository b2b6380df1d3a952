/* Modes of build/tests/tokenizer and build/tests/template for tests/interop_tokenizer.py: texts come in as JSON
 * strings, one a line, ids go out as numbers, one text a line. */
#ifndef TESTS_TOKENIZER_TOOL_H
#define TESTS_TOKENIZER_TOOL_H

#include <stdio.h>
#include <stdlib.h>

#include "io/json.h"

static int tool_error(const dm_error *err)
{
    fprintf(stderr, "%s\n", err->message);
    return 1;
}

/* All of stdin as a list of JSON values. */
static dm_status tool_input(dm_json_doc **doc, dm_error *err)
{
    dm_text in = {0};
    char buffer[65536];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, stdin)) > 0;)
        dm_text_add(&in, buffer, n);
    const dm_status status = dm_json_parse_lines(doc, in.data != NULL ? in.data : "", in.size, "stdin", err);
    dm_text_free(&in);
    return status;
}

#endif
