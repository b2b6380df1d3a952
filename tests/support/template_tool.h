/* Modes of build/tests/template for tests/python: conversations come in as JSON, one a line, ids and turns go out. */
#ifndef DM_TESTS_SUPPORT_TEMPLATE_TOOL_H
#define DM_TESTS_SUPPORT_TEMPLATE_TOOL_H

#include "io/data/template.h"
#include "io/json.h"

/* [{"role", "content", ...}, ...] to messages, which point into it; returns their number. */
size_t template_tool_messages(const dm_json *list, dm_message *messages);

/* Each returns the exit status. */
int template_tool_render(const char *dir, const char *name, bool generation_prompt);
int template_tool_conversations(const char *dir, const char *options);
int template_tool_save(const char *dir, const char *name, const char *to);

#endif
