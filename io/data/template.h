/* Chat templates: a conversation as token ids with the exact span of each turn of the agent.
 *
 * A template is Jinja text, the model's own or one of the built-in ones, and is rendered as transformers renders it
 * (io/jinja/jinja.h). The rendered text knows which of its bytes came from which message; what is data is encoded
 * without recognising special tokens, so that no message can forge one.
 *
 * A turn's span holds the agent's words and the token that ends its turn. It begins where the generation prompt of the
 * messages before it ends, so that what is trained is what will be asked for: thoughts and tool calls that the template
 * puts before or after the words are part of it. Where a template has {% generation %} marks, they are the spans.
 *
 * The ids are those of the whole text, but that a turn begins with a token of its own, as in generation: "assistant\n"
 * and words that begin with a line end are two tokens even if BPE would join the two line ends. docs/templates.md.
 *
 * The built-in templates, S, U and A standing for messages (HF: as the family's published template renders them; the
 * agent's span is between > and <):
 *
 *   chatml   <|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n>A<|im_end|><\n
 *   llama3   <|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>(user the same)
 *            <|start_header_id|>assistant<|end_header_id|>\n\n>A<|eot_id|><
 *   llama2   <s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST]> A </s><<s>[INST] U [/INST]> A </s><
 *   mistral  <s> [INST] S\n\nU [/INST]> A</s>< [INST] U [/INST]> A</s><           (HF: Mistral-7B-Instruct-v0.2)
 *   vicuna   <s>S USER: U ASSISTANT:> A</s><USER: U ASSISTANT:> A</s><            (FastChat's vicuna_v1.1)
 *   zephyr   <|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\n>A</s><\n           (HF: TinyLlama-1.1B-Chat-v1.0)
 *   plain    <|system|>S<|user|>U<|agent|>>A<|end|><<|user|>U<|agent|>>A<|end|><  (ours: the fewest tokens)
 *
 * llama2 and llama3 strip white space around messages. vicuna has a system message of its own. */
#ifndef DM_IO_DATA_TEMPLATE_H
#define DM_IO_DATA_TEMPLATE_H

#include "core/sha256.h"
#include "io/json.h"
#include "io/tokenizer/tokenizer.h"

typedef enum dm_template_kind {
    DM_TEMPLATE_CHATML,
    DM_TEMPLATE_LLAMA2,
    DM_TEMPLATE_LLAMA3,
    DM_TEMPLATE_MISTRAL,
    DM_TEMPLATE_VICUNA,
    DM_TEMPLATE_PLAIN,
    DM_TEMPLATE_ZEPHYR,
    DM_TEMPLATE_COUNT,
    DM_TEMPLATE_OWN = DM_TEMPLATE_COUNT
} dm_template_kind;

/* The names of all kinds, for help and messages. */
#define DM_TEMPLATE_NAMES "chatml, llama2, llama3, mistral, vicuna, zephyr or plain"

/* Who speaks, as training sees it: only an assistant's words are ever trained. */
typedef enum dm_role { DM_ROLE_SYSTEM, DM_ROLE_USER, DM_ROLE_ASSISTANT, DM_ROLE_TOOL } dm_role;

/* A message as a template sees it: {"role", "content"} and whatever else it has. */
typedef struct dm_message {
    dm_role role;
    const char *text; /* the content; NULL: none, as beside tool_calls */
    size_t size;
    bool train;             /* assistant only: false for agent words that belong to the prompt ("OK") */
    const char *role_name;  /* what the template reads as message.role; NULL: system, user, assistant or tool */
    const dm_json *members; /* an object whose members the template reads (tool_calls, tool_call_id, name,
                             * reasoning_content ...), except role and content; NULL: none */
    /* assistant only: the turn as it was sampled, its end included, [n_ids] of this tokenizer and template; the text is
     * then what people read. NULL: the tokens of the text. */
    const int32_t *ids;
    size_t n_ids;
} dm_message;

typedef struct dm_conversation {
    const dm_message *messages; /* [n] */
    size_t n;
    const dm_json *tools; /* the list of tools that the agent may call, NULL: none */
} dm_conversation;

typedef struct dm_span {
    size_t begin, end; /* token positions [begin, end) */
} dm_span;

/* Which template, as a user says it. */
typedef struct dm_template_choice {
    const char *name;    /* a built-in name, one of the model's named templates, a file; NULL or "auto": the model's */
    const char *options; /* "NAME=VALUE,NAME=VALUE": variables for the template; NULL: none */
} dm_template_choice;

/* A template that is ready. Zeroed: none; dm_template_close takes that, too. One thread at a time. */
typedef struct dm_chat_template {
    dm_template_kind kind;   /* DM_TEMPLATE_OWN: not one of ours */
    int32_t bos;             /* -1: none */
    int32_t end_of_turn;     /* the token that ends an agent turn */
    bool rewrites;           /* earlier turns, or what is before them, change as the conversation goes on */
    bool chosen;             /* by the user: not (only) what the model's files say */
    struct dm_template *own; /* the rest */
} dm_chat_template;

/* The name of a built-in template; "own" of DM_TEMPLATE_OWN. */
const char *dm_template_name(dm_template_kind kind);
/* The template's Jinja text, with the variables that were chosen set at its beginning. */
const char *dm_template_source(const dm_chat_template *c);

/* choice may be NULL. Where the model's own is asked for, it comes from `dir`/chat_template.jinja or else
 * tokenizer_config.json; of several named ones "default", and "tool_use" for conversations with tools. bos, eos and the
 * other tokens that a template prints come from tokenizer_config.json; `dir` may be NULL with a name.
 * The template is rendered once here, to find which token ends a turn: what is not supported, or
 * what it asks for and lacks (a date), is reported here. */
dm_status dm_template_open(dm_chat_template *out, const dm_template_choice *choice, const char *dir,
                           const dm_tokenizer *t, dm_error *err);
void dm_template_close(dm_chat_template *c);

/* A template's texts where they are not in a directory, each NULL where it is not there. */
typedef struct dm_template_texts {
    const char *jinja, *tool_use;          /* the one for conversations without tools, the one with; NULL: the first */
    const char *bos, *eos, *unknown, *pad; /* texts of tokens */
    const char *where;                     /* a path, for messages */
} dm_template_texts;

dm_status dm_template_from_text(dm_chat_template *out, const dm_template_choice *choice, const dm_template_texts *texts,
                                const dm_tokenizer *t, dm_error *err);

/* Appends the jinja text of a model directory's template, verbatim; nothing if there is none. */
dm_status dm_template_text(dm_text *out, const char *dir, dm_error *err);

/* Appends the conversation's ids to *ids; the span of every assistant message with train == true goes to
 * spans[0..*n_spans) (room for talk->n). generation_prompt: ends with the header that precedes the agent's words.
 * A turn with ids becomes exactly these, between what the template puts around a turn: what the model saw and wrote.
 * What the template refuses, or leaves out although it would have to be trained, is an error. */
dm_status dm_template_render(const dm_chat_template *c, const dm_tokenizer *t, const dm_conversation *talk,
                             bool generation_prompt, dm_ids *ids, dm_span *spans, size_t *n_spans, dm_error *err);

/* The ids for the agent's next words. *ids holds what the model saw up to the end of the agent's last turn, end_of_turn
 * included; talk has that turn and, after it, at least one message more. Only what is new is appended, so that turns
 * stay as they were generated and a KV cache stays good; where the template renders what was before otherwise now,
 * *ids becomes the whole conversation's ids. */
dm_status dm_template_continue(const dm_chat_template *c, const dm_tokenizer *t, const dm_conversation *talk,
                               dm_ids *ids, dm_error *err);

/* SHA-256 over the vocabulary and the template's text: where it is equal, the ids of sampled turns mean the same. */
void dm_template_identity(const dm_chat_template *c, const dm_tokenizer *t, char hex[DM_SHA256_HEX]);

/* Narrows the text of a generated turn to the agent's words: without what the template and the tokenizer have around
 * them. */
void dm_template_words(const dm_chat_template *c, const dm_tokenizer *t, const char **text, size_t *size);

/* Writes tokenizer_config.json with this jinja template and these texts of tokens, each of them NULL for none. */
dm_status dm_template_write(const char *dir, const char *jinja, const char *bos, const char *eos, const char *pad,
                            const char *unknown, dm_error *err);

/* The same of a template that is open. */
dm_status dm_template_save(const dm_chat_template *c, const dm_tokenizer *t, const char *dir, dm_error *err);

/* The special tokens a new tokenizer needs for this template, in id order. */
size_t dm_template_specials(dm_template_kind kind, const char *const **tokens);

#endif
