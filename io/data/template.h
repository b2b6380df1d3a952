/* Chat templates: a conversation as token ids with the exact span of each agent turn.
 *
 * A turn's span holds the agent's words and the end-of-turn token, nothing else: separators, headers, observations and
 * the prompt have weight 0. Message text is encoded without recognising added tokens, so that it cannot forge one.
 *
 * The text of each template, S, U and A standing for messages (HF: as the family's published jinja template renders it;
 * the agent's span is between > and <):
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
 * White space around messages is stripped (Python's str.strip) by llama2 and llama3, kept by the others. Without a
 * system message: vicuna puts in its own ("A chat between a curious user ..."); chatml none, unless the model's own
 * template, found by "auto", has one (Qwen2, SmolLM2); llama3 none, unless the model's own has the "Cutting Knowledge
 * Date" lines of Llama 3.1 (then always, with that template's fixed date, before a given system message too).
 *
 * A tokenizer of SentencePiece's kind puts its space before text that begins a conversation or follows a token, and
 * nowhere else, as it would in the whole text.
 *
 * The agent's words are tokenized on their own, with the space before them where the template has one: " Action" is one
 * token. That equals tokenizing the whole text at once, for a word never reaches over a special token or from other
 * text into a space; it differs after the \n of chatml, llama3 and zephyr where the words begin with white space and a
 * line end, which BPE would join with that \n. The span is then still exact, and what generation produces. */
#ifndef DM_IO_DATA_TEMPLATE_H
#define DM_IO_DATA_TEMPLATE_H

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
    DM_TEMPLATE_COUNT
} dm_template_kind;

/* The names of all kinds, for help and messages. */
#define DM_TEMPLATE_NAMES "chatml, llama2, llama3, mistral, vicuna, zephyr or plain"

/* Who speaks, as training sees it: only an assistant's words are ever trained. */
typedef enum dm_role { DM_ROLE_SYSTEM, DM_ROLE_USER, DM_ROLE_ASSISTANT, DM_ROLE_TOOL } dm_role;

/* A message as a template sees it: {"role", "content"} and whatever else it has. */
typedef struct dm_message {
    dm_role role;
    const char *text; /* the content; NULL: null, as beside tool_calls */
    size_t size;
    bool train;             /* assistant only: false for agent words that belong to the prompt ("OK") */
    const char *role_name;  /* what the template reads as message.role; NULL: system, user, assistant or tool */
    const dm_json *members; /* an object whose members the template reads (tool_calls, tool_call_id, name,
                             * reasoning_content ...), but for role and content; NULL: none */
} dm_message;

typedef struct dm_conversation {
    const dm_message *messages; /* [n] */
    size_t n;
    const dm_json *tools; /* the list of tools that the agent may call, NULL: none */
} dm_conversation;

typedef struct dm_span {
    size_t begin, end; /* token positions [begin, end) */
} dm_span;

#define DM_TEMPLATE_SYSTEM_MAX 512

typedef struct dm_chat_template {
    dm_template_kind kind;
    int32_t bos;         /* -1: none */
    int32_t end_of_turn; /* the token that ends an agent turn */
    bool trim;           /* message text is stripped of leading and trailing white space, as the family's jinja does */
    char system[DM_TEMPLATE_SYSTEM_MAX]; /* of conversations without a system message; "": none */
    bool dated;                          /* llama3: the system message begins with Llama 3.1's dates */
} dm_chat_template;

const char *dm_template_name(dm_template_kind kind);

/* name: one of the seven, or NULL / "auto": recognised from `dir`/tokenizer_config.json (or chat_template.jinja) by its
 * markers. Checks that the tokenizer has the tokens that the template needs; names the missing one otherwise. `dir` may
 * be NULL with a name; if it has a tokenizer_config.json, the bos and eos tokens of llama2, llama3 (bos only),
 * mistral, vicuna and zephyr (eos only) come from there. */
dm_status dm_template_open(dm_chat_template *out, const char *name, const char *dir, const dm_tokenizer *t,
                           dm_error *err);

/* The same from a template's text and the texts of the bos and eos tokens (each NULL: not known), for models that keep
 * them elsewhere; `where` begins messages about the template. */
dm_status dm_template_from_text(dm_chat_template *out, const char *name, const char *jinja, const char *bos,
                                const char *eos, const char *where, const dm_tokenizer *t, dm_error *err);

/* Appends the jinja text of a model directory's template, verbatim; nothing if there is none. */
dm_status dm_template_text(dm_text *out, const char *dir, dm_error *err);

/* Appends the conversation's ids to *ids; the span of every assistant message with train == true goes to
 * spans[0..*n_spans) (room for talk->n). generation_prompt: ends with the header that precedes the agent's words.
 * Roles must alternate user/assistant after an optional system message. */
dm_status dm_template_render(const dm_chat_template *c, const dm_tokenizer *t, const dm_conversation *talk,
                             bool generation_prompt, dm_ids *ids, dm_span *spans, size_t *n_spans, dm_error *err);

/* Appends what comes between the end-of-turn token of the agent's last turn and its next words: a user message and the
 * header. A conversation so grows only by what is new and keeps its turns as generated; it has the ids that
 * dm_template_render gives for the whole if the words of each turn encode to the generated ids. */
dm_status dm_template_continue(const dm_chat_template *c, const dm_tokenizer *t, const char *text, size_t size,
                               dm_ids *ids, dm_error *err);

/* Narrows the text of a generated turn to the agent's words: without the spaces that the template and the
 * tokenizer have around them. */
void dm_template_words(const dm_chat_template *c, const dm_tokenizer *t, const char **text, size_t *size);

/* Writes tokenizer_config.json with this jinja template and these texts of tokens, each of them NULL for none. */
dm_status dm_template_write(const char *dir, const char *jinja, const char *bos, const char *eos, const char *pad,
                            const char *unknown, dm_error *err);

/* Writes tokenizer_config.json (chat_template as jinja that renders the same text, bos/eos/pad) into `dir`. */
dm_status dm_template_save(const dm_chat_template *c, const dm_tokenizer *t, const char *dir, dm_error *err);

/* The special tokens a new tokenizer needs for this template, in id order. */
size_t dm_template_specials(dm_template_kind kind, const char *const **tokens);

/* The beginning of llama3's system message when `dated`. */
#define DM_TEMPLATE_DATES "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

#endif
