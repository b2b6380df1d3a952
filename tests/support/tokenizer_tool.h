/* Modes of build/tests/tokenizer and build/tests/template for tests/python/interop_tokenizer.py: texts come in as JSON
 * strings, one a line, ids go out as numbers, one text a line. */
#ifndef DM_TESTS_SUPPORT_TOKENIZER_TOOL_H
#define DM_TESTS_SUPPORT_TOKENIZER_TOOL_H

#include "io/json.h"
#include "io/tokenizer/tokenizer.h"

int tool_error(const dm_error *err);

/* All of stdin as a list of JSON values. */
dm_status tool_input(dm_json_doc **doc, dm_error *err);

/* A directory, tokenizer.json or FILE.model; FILE.gguf; FILE.bin:N, llama2.c's with N tokens. */
dm_status tool_open(dm_tokenizer **t, const char *path, dm_error *err);

#endif
