/* The messages of the environment protocol (docs/protocol.md): questions, and what their answers must be. */
#ifndef DM_AGENT_ENV_MESSAGE_H
#define DM_AGENT_ENV_MESSAGE_H

#include "agent/env/env.h"
#include "io/json.h"

#define DM_PROTOCOL_VERSION 1

typedef struct dm_message_hello {
    dm_json_doc *doc; /* owner of the strings */
    const char *name, *instruction;
    int64_t tasks[DM_ENV_SPLITS], max_turns, at_once;
} dm_message_hello;

/* To reset and to step. */
typedef struct dm_message_answer {
    dm_json_doc *doc;
    const char *task;        /* NULL: to a step */
    const char *observation; /* without "Observation: " */
    double score;
    bool done;
    const char *expert;   /* NULL: none */
    const char **actions; /* [n_actions] those that are possible now; n_actions 0: not known */
    size_t n_actions;
} dm_message_answer;

void dm_message_ask_hello(dm_text *out);
/* wants: an answer need not say more than that, which may cost the child time. */
typedef struct dm_message_wants {
    bool expert, actions;
} dm_message_wants;

void dm_message_ask_reset(dm_text *out, dm_env_split split, int64_t task, uint64_t seed, dm_message_wants wants);
void dm_message_ask_step(dm_text *out, const char *action);

/* Read an answer's line, which must be terminated by NUL. Anything that the protocol does not allow is DM_ERR_INPUT and
 * leaves *out empty; so is {"error": "..."}, whose words become the message. */
dm_status dm_message_read_hello(dm_message_hello *out, const char *line, size_t size, dm_error *err);
dm_status dm_message_read_answer(dm_message_answer *out, bool to_reset, const char *line, size_t size, dm_error *err);

void dm_message_hello_free(dm_message_hello *h); /* both: fine on a zeroed struct, which they leave */
void dm_message_answer_free(dm_message_answer *a);

/* The environment a client has asked must be the one it asked first. */
bool dm_message_hello_equal(const dm_message_hello *a, const dm_message_hello *b);

#endif
