/* Added tokens in a text: an automaton (Aho and Corasick's) over their texts, read backwards.
 *
 * Reading the text from its end, the automaton knows at every byte the longest token that begins there. That is what
 * matching needs (the leftmost, of those the longest, then the next after it), and the time is linear in the text for
 * any tokens. Of tokens with the same text the special one counts, then the earlier one in the list. */
#ifndef DM_IO_TOKENIZER_ADDED_H
#define DM_IO_TOKENIZER_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct dm_tokenizer;

typedef struct dm_added_node dm_added_node;

typedef struct dm_added_index {
    dm_added_node *nodes; /* NULL: no tokens */
    uint32_t root[256];   /* children of nodes[0]; 0: none */
} dm_added_index;

/* Builds the index of those of t->added that are (not) normalized. Close it even after a failure. */
dm_status dm_added_build(dm_added_index *x, const struct dm_tokenizer *t, bool normalized, dm_error *err);
void dm_added_close(dm_added_index *x);

typedef struct dm_added_match {
    size_t at;      /* where in the text it begins */
    uint32_t token; /* index in t->added */
} dm_added_match;

/* Every place of s[0..n) where a token begins, with the longest one, from the last to the first; free(*out). */
dm_status dm_added_find(const dm_added_index *x, const char *s, size_t n, dm_added_match **out, size_t *matches,
                        dm_error *err);

#endif
