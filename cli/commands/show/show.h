/* One item of a data file as the trainer sees it: read and weighed (show_item.c), then printed for a terminal
 * (show_text.c), as a page (show_html.c) or as JSON (show_json.c). */
#ifndef DM_CLI_COMMANDS_SHOW_SHOW_H
#define DM_CLI_COMMANDS_SHOW_SHOW_H

#include "dmpo.h"
#include "io/data/dataset.h"
#include "model/train/options.h"

typedef struct show_token {
    int32_t id;
    bool special;           /* a special token, not text that looks like one */
    bool cut;               /* left out by max-length */
    bool trained;           /* in a turn that the objective trains */
    size_t turn;            /* of a trained one, from 0 */
    double weight;          /* of a trained one, else 0 */
    double logp, reference; /* where the item has them: not of the first token, and of none that is cut */
    size_t text;            /* its bytes are side.text.data[text .. text of the next one) */
} show_token;

typedef struct show_side {
    const char *name;  /* "chosen", "rejected", "conversation" or "completion"; NULL: the item lacks this side */
    show_token *token; /* [n + cut_tokens + 1] the last one only ends the text */
    size_t n, cut_tokens;
    const dm_span *turns; /* [n_turns] that are trained */
    size_t n_turns, cut_turns;
    size_t actions; /* trained tokens */
    dm_text text;
    double logp, reference, reward; /* sums over the trained tokens; beta times the weighted sum of log-ratios */
} show_side;

typedef struct show_item {
    const char *path, *model, *reference, *base; /* NULL: none */
    const char *template;                        /* NULL: token ids */
    const char *form; /* "pair", "conversation", "completion, desirable" or "..., undesirable" */
    const char *id;
    size_t number;
    dm_loss_options loss; /* with the objective that this item can be trained with */
    int64_t max_length;
    show_side side[2];
    size_t shared; /* leading tokens that the two sides have in common; 0 with one side */
    bool same;     /* the two sides are the same */
    bool logps;    /* log-probabilities were computed; under the reference too if there is one */
    dm_dataset data;
    dm_tokenizer *tokenizer;
    dm_chat_template chat;
} show_item;

/* Reads the item called `only` (NULL: the first), with the options model, data, template, max-length and those of the
 * loss. Close it in either case. */
dm_status show_open(show_item *item, const dm_train_options *o, const char *only, dm_error *err);
/* The log-probability of each token under the options' model and, if there is one, the reference. */
dm_status show_score(show_item *item, dmpo_engine *engine, dm_error *err);
void show_close(show_item *item);

/* Whether the objective gives every trained token the weight phi of its turn. */
bool show_is_phi(const show_item *item);

/* Tokens of a side that are all cut, all masked, or of one turn; in what the sides share, on both. */
typedef struct show_part {
    size_t begin, end;
    bool shared;
    int which; /* the side; of a shared part 0 */
    bool cut;
} show_part;

/* The next part after *part, which is zeroed at first: what the sides share, then the rest of the first side and of
 * the second. False if there is none. */
bool show_next(const show_item *item, show_part *part);
/* Whether `part` is the first one of a section: of what is shared, or of a side. */
bool show_begins(const show_item *item, const show_part *part);
/* Appends "both sides, tokens 0 to 12", "chosen, from token 13". */
void show_section(dm_text *out, const show_item *item, const show_part *part);
/* Appends "turn 0 of 3, phi 1.0000, 5 tokens" of a trained part, "cut by --max-length 20: 4 tokens, 1 turn" of a cut
 * one; nothing of what is masked. Returns whether it appended anything. */
bool show_label(dm_text *out, const show_item *item, const show_part *part);

/* Facts about the whole item, for people: calls `fact` for each. False: memory was out, and some are empty. */
bool show_facts(const show_item *item, void (*fact)(void *context, const char *key, const char *value), void *context);

/* Appends bytes of a file as one line of text that may be shown: \n \t \r \\ and \xNN stand for control characters, for
 * those that change the direction of text, and for bytes that are not UTF-8 on their own. */
void show_escape(dm_text *out, const char *bytes, size_t size);

typedef struct show_look {
    bool colour, tokens; /* tokens: a line for each */
    size_t width;        /* columns of the terminal */
} show_look;

void show_text(dm_text *out, const show_item *item, const show_look *look);
void show_html(dm_text *out, const show_item *item);
void show_json(dm_text *out, const show_item *item);

#endif
