/* What reading messages and reading their calls share. */
#ifndef DM_IO_DATA_DATASET_MESSAGES_INTERNAL_H
#define DM_IO_DATA_DATASET_MESSAGES_INTERNAL_H

#include "io/data/dataset_messages.h"

struct dm_made_doc {
    dm_json_doc *doc;
    struct dm_made_doc *next;
};

dm_status dm_messages_no_memory(const dm_message_reader *r);

/* Parses a text that holds JSON, such as the arguments of a call. *out is NULL where it holds something else. */
dm_status dm_messages_parse(dm_message_reader *r, const dm_json *text, const dm_json **out);

/* The message's members with the arguments of its calls as objects; *out stays as it is when they are already. */
dm_status dm_messages_parse_calls(dm_message_reader *r, const dm_json *message, const dm_json **out);

/* A function_call message: its text, {"name", "arguments"} or a list of these, as an object with the member
 * "tool_calls". */
dm_status dm_messages_calls_of_text(dm_message_reader *r, const dm_json *text, const char *name, size_t index,
                                    const dm_json **out);

#endif
