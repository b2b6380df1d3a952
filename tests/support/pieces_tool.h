/* What the tests of tokenizers of Llama-2's kind share. */
#ifndef DM_TESTS_SUPPORT_PIECES_TOOL_H
#define DM_TESTS_SUPPORT_PIECES_TOOL_H

#include "io/tokenizer/tokenizer_pieces.h"

const char *in_work(const char *name);
const char *in_data(const char *name);

/* A new file each time: writing over an old one is slow where the file system then waits for the disk. */
void put(const char *path, const void *bytes, size_t size);
dm_status open_gguf(dm_tokenizer **t, const char *path, dm_error *err);

/* The directory of our own, and where the fixtures are. */
void pieces_begin(const char *name);
int pieces_end(const char *name);

#endif
