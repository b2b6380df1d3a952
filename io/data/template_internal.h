/* The inside of dm_chat_template. */
#ifndef DM_IO_DATA_TEMPLATE_INTERNAL_H
#define DM_IO_DATA_TEMPLATE_INTERNAL_H

#include "io/data/template.h"
#include "io/jinja/jinja.h"

#define DM_TEMPLATE_VARIABLES 32

struct dm_template {
    char *source;              /* the Jinja text, options included */
    dm_jinja *program, *tools; /* tools: for conversations with tools; NULL: the same */
    jinja_arena arena;         /* of one rendering at a time */
    dm_text texts;             /* the variables' texts, one after the other, each with a NUL */
    size_t n_variables;        /* that do not change: bos_token ... */
    const char *names[DM_TEMPLATE_VARIABLES];
    size_t offsets[DM_TEMPLATE_VARIABLES]; /* in texts */
    size_t before, behind;                 /* of the probe's turn: bytes that the template has around the words */
    char *around;                          /* [before + behind]: those bytes */
    bool follows_token;                    /* the generation prompt ends with a token, not with text */
};

/* ---- template_builtin.c ---- */

typedef struct dm_template_builtin {
    const char *name;
    const char *const *tokens; /* [n_tokens] that a tokenizer must have */
    size_t n_tokens;
    const char *bos, *end_of_turn; /* by their usual text; bos NULL: none */
    bool config_eos;               /* tokenizer_config.json may name another eos */
    bool has_tools;                /* message.role stands in the text, so that tool messages have a place */
    const char *jinja;
} dm_template_builtin;

extern const dm_template_builtin dm_template_builtins[DM_TEMPLATE_COUNT];

/* ---- template_render.c ---- */

/* A conversation as values, for several renderings. */
typedef struct dm_scene {
    const dm_chat_template *c;
    const dm_conversation *talk;
    const dm_jinja *program;
    jinja_value messages; /* a list of all of them */
    jinja_value tools;
    dm_error *err;
} dm_scene;

/* Origins of what is data: message i has i + 1, what its other members say DM_ORIGIN_MEMBER besides. */
#define DM_ORIGIN_MEMBER 0x40000000u
#define DM_ORIGIN_TOOLS 0x3FFFFFFFu
#define DM_ORIGIN_INDEX 0x3FFFFFFFu

dm_status dm_scene_open(dm_scene *s, const dm_chat_template *c, const dm_conversation *talk, dm_error *err);
/* The first n messages. The text lies in the arena, which the next dm_scene_open empties. */
dm_status dm_scene_render(const dm_scene *s, size_t n, bool generation_prompt, jinja_text *text);

/* ---- template_spans.c ---- */

/* Where a turn stands in the rendered text. */
typedef struct dm_turn {
    size_t begin, end;  /* bytes, the end-of-turn token included */
    bool ends_in_token; /* a special token ends at `end` */
    size_t message;     /* whose turn it is */
} dm_turn;

/* Whether a message of the agent has to be found in the text: to be trained, or to be replaced by its ids. */
bool dm_turn_wanted(const dm_message *m);

/* The turns of the messages that are wanted in `text`, the rendering of all of them; room for talk->n. */
dm_status dm_turns_find(const dm_scene *s, const dm_tokenizer *t, const jinja_text *text, dm_turn *turns, size_t *n);

/* Where the token that ends a turn stands in bytes [from, to): after its text; 0: nowhere. */
size_t dm_turn_end(const dm_chat_template *c, const dm_tokenizer *t, const jinja_text *text, size_t from, size_t to);

#endif
