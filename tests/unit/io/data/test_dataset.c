/* Data sets: the three forms, what is trained in each, cutting to length, and what is refused with which words. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "io/data/dataset.h"
#include "tests/support/check.h"

static char path[64];
static dm_tokenizer *tokenizer;
static dm_chat_template chat;

static dm_data_options text_options(void)
{
    return (dm_data_options){.tokenizer = tokenizer, .chat = &chat, .vocabulary = dm_tokenizer_size(tokenizer)};
}

static dm_status open_text(dm_dataset *d, const char *text, const dm_data_options *o, dm_error *err)
{
    dm_error write_err = {0};

    CK_MSG(dm_file_write(path, text, strlen(text), &write_err) == DM_OK, "%s", write_err.message);
    *err = (dm_error){0};
    return dm_dataset_open(d, path, o, err);
}

/* The file must be refused, with `message` after the path. */
static void refused(const char *text, const dm_data_options *o, const char *message)
{
    dm_dataset d;
    dm_error err = {0};
    const size_t n = strlen(path);
    const dm_status st = open_text(&d, text, o, &err);

    CK_MSG(st == DM_ERR_INPUT, "status %d (%s): %s", (int)st, err.message, text);
    CK_MSG(strncmp(err.message, path, n) == 0 && strncmp(err.message + n, message, strlen(message)) == 0,
           "%s\n  instead of %s%s", err.message, path, message);
    CK(d.memory == NULL && d.items == NULL);
}

/* The words of each turn, joined by '|'; every turn must end with the end-of-turn token. */
static void check_turns(const dm_data_trajectory *t, const char *want)
{
    dm_text words = {0};
    dm_error err = {0};
    size_t actions = 0;

    for (size_t i = 0; i < t->n_turns; i++) {
        const dm_span s = t->turns[i];
        CK(s.begin >= 1 && s.begin < s.end && s.end <= t->n && (i == 0 || s.begin >= t->turns[i - 1].end));
        CK(t->ids[s.end - 1] == chat.end_of_turn);
        if (i)
            dm_text_add(&words, "|", 1);
        CK(dm_tokenizer_decode(tokenizer, t->ids + s.begin, s.end - s.begin, true, &words, &err) == DM_OK);
        actions += s.end - s.begin;
    }
    CK_MSG(words.data && strcmp(words.data, want) == 0, "turns %s instead of %s", words.data ? words.data : "(none)",
           want);
    CK(actions == t->n_actions);
    dm_text_free(&words);
}

#define H(text) "{\"from\":\"human\",\"value\":\"" text "\"}"
#define G(text) "{\"from\":\"gpt\",\"value\":\"" text "\"}"
#define S(text) "{\"from\":\"system\",\"value\":\"" text "\"}"
#define U(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define A(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define Y(text) "{\"role\":\"system\",\"content\":\"" text "\"}"

/* Every form of one trajectory, and the turns that must come out of it. */
static void check_text_forms(void)
{
    static const struct {
        const char *text, *chosen, *rejected; /* rejected NULL: single conversations */
    } cases[] = {
        /* the authors' pairs: the prompt's OK is not a turn */
        {"[{\"id\":\"x\",\"prompt\":[" H("do") "," G("OK") "," H("see a") "],\"chosen\":[" G("go b") "," H("b") "," G(
             "go c") "],\"rejected\":[" G("wait") "],\"other\":{}}]",
         "go b|go c", "wait"},
        {"[{\"prompt\":[" S("sys") "," H("do") "],\"chosen\":[" G("go b") "],\"rejected\":[" G("wait") "]}]", "go b",
         "wait"},
        /* TRL's pairs, with a prompt and without */
        {"{\"prompt\":[" Y("sys") "," U("do") "],\"chosen\":[" A("go b") "],\"rejected\":[" A("wait") "]}\n", "go b",
         "wait"},
        {"[{\"chosen\":[" U("do") "," A("go b") "],\"rejected\":[" U("do") "," A("wait") "," U("hm") "," A("end") "]}]",
         "go b", "wait|end"},
        {"[{\"chosen\":[" U("do") "," A("same") "," U("a") "," A("x") "],\"rejected\":[" U("do") "," A("same") "," U(
             "b") "," A("y") "]}]",
         "same|x", "same|y"}, /* they part in an observation: the prompt ends before the action */
        {"[{\"chosen\":[" U("do") "," A("same") "," U("a") "," A("x") "],\"rejected\":[" U("do") "," A("same") "," U(
             "a") "," A("y") "]}]",
         "x", "y"},
        /* conversations: the first answer is not a turn when an opening of human, gpt, human, gpt is there */
        {"[{\"conversations\":[" H("do") "," G("OK") "," H("see a") "," G("go b") "," H("b") "," G("go c") "]}]",
         "go b|go c", NULL},
        {"[{\"conversations\":[" S("sys") "," H("do") "," G("OK") "," H("see a") "," G("go b") "]}]", "go b", NULL},
        {"[{\"conversations\":[" H("do") "," G("go b") "]}]", "go b", NULL},
        {"[{\"conversations\":[" S("sys") "," H("do") "," G("go b") "]}]", "go b", NULL},
        {"[{\"conversations\":[" H("do") ",{\"from\":\"gpt\",\"value\":\"go a\",\"train\":true}," H("a") "," G(
             "go b") "]}]",
         "go a|go b", NULL},
        /* messages: every answer is a turn, but for those that say otherwise */
        {"[{\"messages\":[" U("do") "," A("go a") "," U("a") "," A("go b") "]}]", "go a|go b", NULL},
        {"[{\"messages\":[" U("do") ",{\"role\":\"assistant\",\"content\":\"OK\",\"train\":false}," U("a") "," A(
             "go b") "]}]",
         "go b", NULL},
        {"[{\"messages\":[" U("do") ",{\"role\":\"assistant\",\"content\":\"OK\",\"weight\":0}," U(
             "a") ",{\"role\":\"assistant\",\"content\":\"go b\",\"weight\":1}]}]",
         "go b", NULL},
        {"[{\"prompt\":[" H("do") "],\"chosen\":[{\"from\":\"gpt\",\"value\":\"go\",\"train\":false}," H("b") "," G(
             "go c") "],\"rejected\":[" G("wait") "]}]",
         "go c", "wait"},
        /* a first answer that is more than an OK is a turn */
        {"[{\"conversations\":[" H("do") "," G("Okra") "," H("see a") "," G("go b") "]}]", "Okra|go b", NULL},
        {"[{\"conversations\":[" H("do") "," G("Ok. I will") "," H("see a") "," G("go b") "]}]", "go b", NULL},
        /* UltraFeedback's prompt, a text beside whole conversations, or alone */
        {"[{\"prompt\":\"do\",\"chosen\":[" U("do") "," A("go b") "],\"rejected\":[" U("do") "," A("wait") "]}]",
         "go b", "wait"},
        {"[{\"prompt\":\"do\",\"chosen\":[" A("go b") "],\"rejected\":[" A("wait") "]}]", "go b", "wait"},
        /* LLaMA-Factory's pairs: the conversation so far, and one message a side */
        {"[{\"conversations\":[" H("do") "],\"chosen\":" G("go b") ",\"rejected\":" G("wait") "}]", "go b", "wait"},
        /* a prompt and its completion */
        {"[{\"prompt\":[" U("do") "],\"completion\":[" A("go b") "]}]", "go b", NULL},
        {"[{\"prompt\":\"do\",\"completion\":" A("go b") ",\"label\":null}]", "go b", NULL},
        /* text in parts; other names for who speaks */
        {"[{\"messages\":[" U("do") ",{\"role\":\"gpt\",\"content\":[{\"type\":\"text\",\"text\":\"go \"},"
                                    "{\"text\":\"b\"}],\"name\":null}]}]",
         "go b", NULL},
        /* an empty observation is one; words that look like control tokens are words */
        {"[{\"messages\":[" U("") "," A("a <|im_end|> b") "]}]", "a <|im_end|> b", NULL},
    };
    const dm_data_options o = text_options();

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dm_dataset d;
        dm_error err;
        CK_MSG(open_text(&d, cases[i].text, &o, &err) == DM_OK, "%s\n  %s", err.message, cases[i].text);
        CK(d.n == 1 && d.pairs == (cases[i].rejected != NULL) && d.report.items == 1 && strlen(d.sha256) == 64);
        if (d.n == 1) {
            check_turns(&d.items[0].chosen, cases[i].chosen);
            if (cases[i].rejected)
                check_turns(&d.items[0].rejected, cases[i].rejected);
            else
                CK(d.items[0].rejected.n == 0 && d.items[0].rejected.n_turns == 0);
        }
        dm_dataset_close(&d);
        CK(d.memory == NULL && d.n == 0);
    }
}

static void check_refused_text(void)
{
    dm_data_options o = text_options();
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"[]", ": holds no items"},
        {"3", ":1:1: must be a list of items"},
        {"[1]", ":1:2: item \"item 0\": must be an object"},
        {"[{\"id\":[]}]", ":1:8: item \"item 0\": \"id\" must be a string or an integer"},
        {"[{\"id\":7}]", ":1:2: item \"7\": has none of the keys that hold data"},
        {"[{\"id\":\"a\",\n\"chosen\":[]}]", ":1:2: item \"a\": \"rejected\" is missing"},
        {"[{\"rejected\":[]}]", ":1:2: item \"item 0\": \"chosen\" is missing"},
        {"[{\"chosen\":\"a\",\"rejected\":\"b\"}]", ":1:12: item \"item 0\": \"chosen\" must be a list of messages"},
        {"[{\"prompt\":[" H("a") "],\"chosen\":[],\"rejected\":[" G("b") "]}]",
         ":1:52: item \"item 0\": \"chosen\" is empty"},
        {"[{\"prompt\":[" H("a") "],\"chosen\":[" G("b") "],\"rejected\":[]}]",
         ":1:92: item \"item 0\": \"rejected\" is empty"},
        {"[{\"prompt\":\"x\",\"chosen\":[" H("a") "," G("b") "],\"rejected\":[" H("a") "," G("c") "]}]",
         ":1:12: item \"item 0\": \"prompt\" is not one of the user's messages"},
        {"[{\"chosen\":" G("b") ",\"rejected\":" G("c") "}]",
         ":1:2: item \"item 0\": \"prompt\" is missing: \"chosen\" is one message"},
        {"[{\"prompt\":[" H("a") "],\"completion\":\"b\"}]", ":1:56: item \"item 0\": \"completion\" must be a list"},
        {"[{\"completion\":[" G("b") "]}]", ":1:2: item \"item 0\": \"prompt\" is missing beside"},
        {"[{\"prompt\":[" H("a") "],\"completion\":[" G("b") "],\"label\":true}]",
         ":1:93: item \"item 0\": has a \"label\": only the objective kto"},
        {"[{\"system\":3,\"messages\":[" U("a") "," A("b") "]}]",
         ":1:12: item \"item 0\": \"system\" must be a string"},
        {"[{\"system\":\"s\",\"messages\":[" Y("t") "," U("a") "," A("b") "]}]",
         ":1:28: item \"item 0\": messages[0]: a system message must be the first of the conversation, and there is"},
        {"[{\"chat_template_kwargs\":{\"a\":1},\"messages\":[" U("a") "," A("b") "]}]",
         ":1:26: item \"item 0\": \"chat_template_kwargs\" of one item"},
        {"[{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}," A("b") "]}]",
         ":1:41: item \"item 0\": messages[0]: part 0 of its content is not"},
        {"[{\"chosen\":[" G("b") "],\"rejected\":[" G("c") "]}]", ":1:2: item \"item 0\": \"prompt\" is missing, and"},
        {"[{\"prompt\":[" H("a") "],\n\"chosen\":[\n" H("b") "],\"rejected\":[" G("c") "]}]",
         ":3:1: item \"item 0\": chosen[0]: the first message after a prompt must be the agent's"},
        {"[{\"prompt\":[" H("a") ",\n" G("b") "],\"chosen\":[" G("b") "],\"rejected\":[" G("c") "]}]",
         ":1:12: item \"item 0\": prompt[1]: the last message of the prompt must not be the agent's"},
        {"[{\"prompt\":[],\"chosen\":[" G("b") "],\"rejected\":[" G("c") "]}]",
         ":1:25: item \"item 0\": chosen[0]: a conversation must begin with a message of the user"},
        {"[{\"prompt\":[" H("a") "],\"chosen\":[" G("b") ",\n" G("c") "],\"rejected\":[" G("c") "]}]",
         ":2:1: item \"item 0\": chosen[1]: a second message of the agent in a row"},
        {"[{\"prompt\":[" H("a") "],\"chosen\":[" G("b") "],\"rejected\":[" G("c") "," H("d") "]}]",
         ":1:92: item \"item 0\": rejected[1]: the last message must be the agent's"},
        {"[{\"prompt\":[{\"from\":\"gpt\",\"value\":\"x\",\"train\":true}],\"chosen\":[" G("b") "],\"rejected\":[" G(
             "b") "]}]",
         ":1:13: item \"item 0\": prompt[0]: a conversation must begin with"},
        {"[{\"prompt\":[" H("a") ",\n{\"from\":\"gpt\",\"value\":\"x\",\"train\":true}," H("a") "],\"chosen\":[" G(
             "b") "],\"rejected\":[" G("b") "]}]",
         ":2:1: item \"item 0\": prompt[1]: a message of the prompt cannot be trained"},
        {"[{\"id\":\"q\",\"conversations\":[]}]", ":1:28: item \"q\": \"conversations\" is empty"},
        {"[{\"conversations\":{}}]", ":1:19: item \"item 0\": \"conversations\" must be a list of messages"},
        {"[{\"conversations\":[" H("a") "]}]",
         ":1:19: item \"item 0\": conversations[0]: the last message must be the agent's"},
        {"[{\"conversations\":[" H("a") "," G("b") ",\n" H("c") "]}]",
         ":1:19: item \"item 0\": conversations[2]: the last"},
        {"[{\"conversations\":[" H("a") ",\n" H("b") "," G("c") "]}]",
         ":2:1: item \"item 0\": conversations[1]: a second"},
        {"[{\"conversations\":[" H("a") ",\n" S("b") "," G("c") "]}]",
         ":2:1: item \"item 0\": conversations[1]: a system"},
        {"[{\"conversations\":[" H("a") ",\n" G("") "]}]",
         ":2:1: item \"item 0\": conversations[1]: the agent's message is empty"},
        {"[{\"conversations\":[" H("a") ",\n" G(" \\n\\t") "]}]",
         ":2:1: item \"item 0\": conversations[1]: the agent's message is"},
        {"[{\"conversations\":[" H("a") ",\n{\"from\":\"bot\",\"value\":\"x\"}]}]",
         ":2:9: item \"item 0\": conversations[1]: unknown \"from\" \"bot\": must be user (human), assistant (gpt)"},
        {"[{\"messages\":[" U("a") ",\n{\"role\":\"tool\",\"content\":\"x\"}]}]",
         ":2:1: item \"item 0\": messages[1]: a tool's result must follow the agent's message"},
        {"[{\"messages\":[" U("a") ",\n{\"role\":1,\"content\":\"x\"}]}]",
         ":2:9: item \"item 0\": messages[1]: unknown \"role\""},
        {"[{\"messages\":[" U("a") ",\n{\"role\":\"assistant\"}]}]",
         ":2:1: item \"item 0\": messages[1]: \"content\" is missing"},
        {"[{\"messages\":[" U("a") ",\n{\"role\":\"assistant\",\"content\":{}}]}]",
         ":2:31: item \"item 0\": messages[1]: \"content\" must be a string or a list of text parts"},
        {"[{\"messages\":[" U("a") ",\n{\"role\":\"assistant\",\"content\":[]}]}]",
         ":2:1: item \"item 0\": messages[1]: the agent's message is empty"},
        {"[{\"messages\":[3]}]", ":1:15: item \"item 0\": messages[0]: must be an object with \"from\" and \"value\""},
        {"[{\"messages\":[" U("a") ",\n{\"role\":\"assistant\",\"content\":\"b\",\"train\":1}]}]",
         ":2:43: item \"item 0\": messages[1]: \"train\" must be true or false"},
        {"[{\"messages\":[" U("a") ",\n{\"role\":\"assistant\",\"content\":\"b\",\"weight\":0.5}]}]",
         ":2:44: item \"item 0\": messages[1]: \"weight\" must be 0 or 1"},
        {"[{\"messages\":[" U("a") ",{\"role\":\"assistant\",\"content\":\"b\",\"train\":false}]}]",
         ":1:14: item \"item 0\": \"messages\": no message of the agent is trained"},
        {"[{\"messages\":[" U("a") "," A("b") "]},\n{\"prompt\":[" H("a") "],\"chosen\":[" G("b") "],\"rejected\":[" G(
             "c") "]}]",
         ":2:1: item \"item 1\": a file holds either pairs or single conversations, and item \"item 0\" is not a pair"},
        {"{\"messages\":[" U("a") "," A("b") "]}\n{\"messages\":[" U("a") "]}\n",
         ":2:13: item \"item 1\": messages[0]: the last message must be the agent's"},
        {"{\"messages\":[" U("a") "," A("b") "]}\n\n{\"messages\":[\n",
         ":3:14: expected a value, found the end of the line"},
        {"[{\"messages\":[" U("a") "," A("b") "]}", ":1:81: expected ',' or ']'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(bad[i].text, &o, bad[i].message);

    refused("[{\"id\":\"k\",\"chosen_score\":\"high\"}]", &o, ":1:27: item \"k\": \"chosen_score\" must be a number");
    dm_dataset d;
    dm_error err;

    o.need_pairs = true;
    refused("[{\"messages\":[" U("a") "," A("b") "]}]", &o,
            ":1:2: item \"item 0\": \"chosen\" and \"rejected\" are missing: preference pairs are needed");
    o.tokenizer = NULL;
    o.need_pairs = false;
    CK(open_text(&d, "[{\"messages\":[" U("a") "," A("b") "]}]", &o, &err) == DM_ERR_ARGUMENT);
    CK_MSG(strstr(err.message, "a tokenizer and a chat template are needed") != NULL, "%s", err.message);

    /* A tokenizer of a larger vocabulary than the model's. */
    o = text_options();
    o.vocabulary = 10;
    CK(open_text(&d, "[{\"messages\":[" U("a") "," A("b") "]}]", &o, &err) == DM_ERR_INPUT);
    CK_MSG(strstr(err.message, "outside of the model's vocabulary of 10") != NULL, "%s", err.message);
    unlink(path);
    CK(dm_dataset_open(&d, path, &o, &err) == DM_ERR_FILE && strstr(err.message, path));
    dm_dataset_close(&d);
    dm_dataset_close(NULL);
}

/* Two files that say the same in other words have the same ids. */
static void same_ids(const char *a, const char *b, const dm_data_options *o)
{
    dm_dataset one = {0}, other = {0};
    dm_error err;

    if (CK_MSG(open_text(&one, a, o, &err) == DM_OK, "%s: %s", err.message, a) &&
        CK_MSG(open_text(&other, b, o, &err) == DM_OK, "%s: %s", err.message, b)) {
        const dm_data_trajectory *x = &one.items[0].chosen, *y = &other.items[0].chosen;
        CK_MSG(x->n == y->n && memcmp(x->ids, y->ids, x->n * sizeof *x->ids) == 0, "%s\n  %s", a, b);
    }
    dm_dataset_close(&one);
    dm_dataset_close(&other);
}

static void check_equivalents(void)
{
    dm_data_options o = text_options();

    same_ids("[{\"system\":\"sys\",\"conversations\":[" H("do") "," G("go") "]}]",
             "[{\"messages\":[" Y("sys") "," U("do") "," A("go") "]}]", &o);
    same_ids("[{\"system\":\"\",\"tools\":\"[]\",\"messages\":[" U("do") "," A("go") "]}]",
             "[{\"messages\":[" U("do") "," A("go") "]}]", &o);
    same_ids("[{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"d\"},"
             "{\"type\":\"text\",\"text\":\"o\"}]}," A("go") "]}]",
             "[{\"messages\":[" U("do") "," A("go") "]}]", &o);
    o.join_messages = true;
    same_ids("[{\"messages\":[" U("a") "," U("b") "," A("c") "," A("d") "]}]",
             "[{\"messages\":[" U("a\\n\\nb") "," A("c\\n\\nd") "]}]", &o);
    refused("[{\"messages\":[" U("a") "," A("c") ",\n{\"role\":\"assistant\",\"content\":\"d\",\"train\":false}]}]", &o,
            ":2:1: item \"item 0\": messages[2]: cannot be joined to the message before it: one is trained");
}

/* Completions with labels, equal sides, first answers: what is counted. */
static void check_counts(void)
{
    dm_data_options o = text_options();
    dm_dataset d;
    dm_error err;

    o.take_labels = true;
    CK_MSG(open_text(&d,
                     "{\"prompt\":\"do\",\"completion\":[" A("go") "],\"label\":true}\n"
                                                                   "{\"prompt\":\"do\",\"completion\":[" A(
                                                                       "wait") "],\"label\":false}\n",
                     &o, &err) == DM_OK,
           "%s", err.message);
    if (CK(d.n == 2 && d.pairs)) {
        check_turns(&d.items[0].chosen, "go");
        check_turns(&d.items[1].rejected, "wait");
        CK(d.items[0].rejected.n == 0 && d.items[1].chosen.n == 0);
    }
    dm_dataset_close(&d);

    static const char pairs[] = "{\"prompt\":\"do\",\"chosen\":[" A("go") "," U("x") "," A("b") "],\"rejected\":[" A(
        "go") "," U("x") "," A("c") "]}\n{\"prompt\":\"do\",\"chosen\":[" A("x") "],\"rejected\":[" A("y") "]}\n";
    CK(open_text(&d, pairs, &o, &err) == DM_OK && d.n == 2 && d.report.equal == 0);
    const size_t first = d.n == 2 ? d.items[0].chosen.turns[0].end : 0;
    dm_dataset_close(&d);
    o.max_length = first;
    CK(open_text(&d, pairs, &o, &err) == DM_OK && d.n == 2);
    dm_dataset_close(&d);
    o.drop_equal = true;
    CK(open_text(&d, pairs, &o, &err) == DM_OK && d.n == 1 && d.report.equal == 1 && d.report.equal_by_cut == 1);
    dm_dataset_close(&d);
    o.max_length = 0;
    refused("{\"prompt\":\"do\",\"chosen\":[" A("go") "],\"rejected\":[" A("go") "]}", &o,
            ": no item is left: the sides of 1 pairs are the same (0 of them since they were cut");
    CK(open_text(&d, "[{\"conversations\":[" H("do") "," G("go") "," H("x") "," G("b") "]}]", &o, &err) == DM_OK &&
       d.report.openings == 1);
    dm_dataset_close(&d);
}

/* A pipe and standard input hold data as a file does, and have its hash. */
static void check_streams(void)
{
    static const char text[] = "[{\"messages\":[" U("do") "," A("go") "]}]";
    const dm_data_options o = text_options();
    char hash[DM_SHA256_HEX], name[64];
    dm_dataset d;
    dm_error err;
    int ends[2];

    CK(open_text(&d, text, &o, &err) == DM_OK);
    memcpy(hash, d.sha256, sizeof hash);
    dm_dataset_close(&d);
    for (int k = 0; k < 2; k++) {
        if (!CK(pipe(ends) == 0 && write(ends[1], text, sizeof text - 1) == (ssize_t)sizeof text - 1))
            return;
        close(ends[1]);
        snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
        if (k == 0 && access("/dev/fd", X_OK) != 0) {
            ck_skip("no /dev/fd here");
            close(ends[0]);
            continue;
        }
        if (k == 1)
            CK(dup2(ends[0], STDIN_FILENO) == STDIN_FILENO);
        CK_MSG(dm_dataset_open(&d, k ? "-" : name, &o, &err) == DM_OK, "%s", err.message);
        CK(d.n == 1 && strcmp(d.sha256, hash) == 0);
        dm_dataset_close(&d);
        close(ends[0]);
    }
    CK(dm_dataset_open(&d, "/", &o, &err) == DM_ERR_FILE && strstr(err.message, "/: is not a regular file"));
}

#define TOK(ids, turns) "{\"ids\":[" ids "],\"turns\":[" turns "]}"

static void check_tokens(void)
{
    dm_data_options o = {.vocabulary = 100};
    dm_dataset d;
    dm_error err;

    /* As in the golden cases: an object with "pairs", other keys beside them. */
    CK_MSG(
        open_text(
            &d,
            "{\"case\":\"x\",\"pairs\":[{\"chosen\":{\"ids\":[1,5,6,2,7,8,2],\"turns\":[[1,4],[5,7]],\"logps\":[-1.5]},"
            "\"rejected\":" TOK("1,5,99", "[2,3]") "},{\"id\":\"two\",\"chosen_score\":1,\"rejected_score\":0.25,"
                                                   "\"chosen\":" TOK("1,2", "[1,2]") ",\"rejected\":" TOK(
                                                       "1,3", "[1,2]") "}],\"losses\":[]}",
            &o, &err) == DM_OK,
        "%s", err.message);
    CK(d.pairs && d.n == 2 && d.report.items == 2 && d.report.tokens == 14 && d.report.action_tokens == 8 &&
       d.report.longest == 7);
    CK(d.report.truncated_items == 0 && d.report.skipped == 0);
    if (d.n == 2) {
        const dm_data_trajectory *c = &d.items[0].chosen;
        static const int32_t ids[] = {1, 5, 6, 2, 7, 8, 2};
        CK(c->n == 7 && memcmp(c->ids, ids, sizeof ids) == 0 && c->n_turns == 2 && c->n_actions == 5);
        CK(c->turns[0].begin == 1 && c->turns[0].end == 4 && c->turns[1].begin == 5 && c->turns[1].end == 7);
        CK(strcmp(d.items[0].id, "item 0") == 0 && strcmp(d.items[1].id, "two") == 0);
        CK(isnan(d.items[0].chosen_score) && d.items[1].chosen_score == 1 && d.items[1].rejected_score == 0.25);
    }
    dm_dataset_close(&d);

    CK(open_text(&d, TOK("1,2,3", "[1,3]") "\n" TOK("1,2,4", "[2,3]") "\n", &o, &err) == DM_OK);
    CK(!d.pairs && d.n == 2 && d.items[1].rejected.n == 0 && d.items[1].chosen.ids[2] == 4);
    dm_dataset_close(&d);

    static const struct {
        const char *text, *message;
    } bad[] = {
        {TOK("1,100", "[1,2]"), ":1:11: item \"item 0\": ids[1] must be a token id from 0 to 99"},
        {TOK("1,-1", "[1,2]"), ":1:11: item \"item 0\": ids[1] must be a token id from 0 to 99"},
        {TOK("1,2.0", "[1,2]"), ":1:11: item \"item 0\": ids[1] must be"},
        {TOK("1,\"a\"", "[1,2]"), ":1:11: item \"item 0\": ids[1] must be"},
        {TOK("1,2", ""), ":1:22: item \"item 0\": \"turns\" is empty"},
        {"{\"ids\":[1]}", ":1:1: item \"item 0\": \"turns\" is missing"},
        {"{\"ids\":1,\"turns\":[]}", ":1:8: item \"item 0\": \"ids\" must be a list"},
        {"{\"ids\":[1],\"turns\":{}}", ":1:20: item \"item 0\": \"turns\" must be a list"},
        {TOK("1,2", "[1]"), ":1:23: item \"item 0\": turns[0] must be [begin, end)"},
        {TOK("1,2", "[1,2,3]"), ":1:23: item \"item 0\": turns[0] must be [begin, end)"},
        {TOK("1,2", "[1,2.5]"), ":1:23: item \"item 0\": turns[0] must be [begin, end)"},
        {TOK("1,2", "3"), ":1:23: item \"item 0\": turns[0] must be [begin, end)"},
        {TOK("1,2", "[0,1]"), ":1:23: item \"item 0\": turns[0] is [0, 1) of 2 tokens: it begins before token 1"},
        {TOK("1,2", "[-1,1]"), ":1:23: item \"item 0\": turns[0] is [-1, 1) of 2 tokens: it begins before token 1"},
        {TOK("1,2", "[1,1]"), ":1:23: item \"item 0\": turns[0] is [1, 1) of 2 tokens: it is empty"},
        {TOK("1,2", "[1,3]"), ":1:23: item \"item 0\": turns[0] is [1, 3) of 2 tokens: it ends after the last token"},
        {TOK("1,2,3,4", "[2,4],[1,2]"),
         ":1:33: item \"item 0\": turns[1] is [1, 2) of 4 tokens: it begins before the previous turn"},
        {TOK("1,2,3,4", "[1,3],[2,4]"),
         ":1:33: item \"item 0\": turns[1] is [2, 4) of 4 tokens: it begins before the previous turn"},
        {TOK("", "[1,2]"), ":1:20: item \"item 0\": turns[0] is [1, 2) of 0 tokens: it ends after"},
        {"{\"chosen\":" TOK("1,2", "[1,2]") ",\"rejected\":" TOK("1,200", "[1,2]") "}",
         ":1:62: item \"item 0\": rejected.ids[1] must be a token id from 0 to 99"},
        {"{\"chosen\":" TOK("1,2", "[1,2]") ",\"rejected\":[]}",
         ":1:52: item \"item 0\": \"rejected\" must have the form of"},
        {"{\"chosen\":{},\"rejected\":{\"ids\":[]}}", ":1:11: item \"item 0\": \"chosen\" is empty"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(bad[i].text, &o, bad[i].message);
}

/* Twelve tokens, turns [2,4) [5,8) [10,12), at every limit. */
static void check_truncation(void)
{
    static const char pair[] = "[{\"id\":\"p\",\"chosen\":" TOK(
        "1,2,3,4,5,6,7,8,9,10,11,12", "[2,4],[5,8],[10,12]") ",\"rejected\":" TOK("1,2,3", "[1,2]") "}]";
    static const struct {
        size_t limit, n, turns, cut_tokens, cut_turns;
    } cases[] = {{0, 12, 3, 0, 0}, {13, 12, 3, 0, 0}, {12, 12, 3, 0, 0}, {11, 8, 2, 4, 1},
                 {10, 8, 2, 4, 1}, {8, 8, 2, 4, 1},   {7, 4, 1, 8, 2},   {4, 4, 1, 8, 2}};
    dm_data_options o = {.vocabulary = 100, .keep_cut = true};
    dm_dataset d;
    dm_error err;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o.max_length = cases[i].limit;
        CK_MSG(open_text(&d, pair, &o, &err) == DM_OK, "%s", err.message);
        const dm_data_trajectory *c = &d.items[0].chosen;
        CK(c->n == cases[i].n && c->n_turns == cases[i].turns && c->turns[c->n_turns - 1].end <= c->n);
        CK(d.report.truncated_items == (cases[i].cut_tokens > 0) && d.report.truncated_tokens == cases[i].cut_tokens &&
           d.report.truncated_turns == cases[i].cut_turns);
        CK(c->cut_tokens == cases[i].cut_tokens && c->cut_turns == cases[i].cut_turns && c->ids[11] == 12);
        CK(c->n_actions == (cases[i].turns == 3 ? 7 : cases[i].turns == 2 ? 5 : 2));
        CK(d.report.tokens == c->n + 3 && d.report.action_tokens == c->n_actions + 1 && d.report.longest == c->n);
        dm_dataset_close(&d);
    }
    o.max_length = 3;
    refused(pair, &o,
            ":1:21: item \"p\": chosen: the first turn ends at token 4, after the limit of 3: no action is left");

    /* Tokens after the last turn count for the limit, but no turn is lost with them. */
    o.max_length = 4;
    CK(open_text(&d, TOK("1,2,3,4,5", "[1,3]"), &o, &err) == DM_OK && d.items[0].chosen.n == 3);
    CK(d.report.truncated_items == 1 && d.report.truncated_tokens == 2 && d.report.truncated_turns == 0);
    dm_dataset_close(&d);
}

/* One item of a file, whatever the others are: by its id, or else by its number. */
static void check_one(void)
{
    static const char file[] = "[{\"id\":\"a\",\"ids\":[]},{\"id\":7,\"ids\":[1,2],\"turns\":[[1,2]]},{\"id\":\"1\","
                               "\"ids\":[3,4],\"turns\":[[1,2]]}," TOK("5,6", "[1,2]") "]";
    static const struct {
        const char *only;
        size_t number;
    } cases[] = {{"7", 1}, {"1", 2}, {"2", 2}, {"3", 3}, {"item 3", 3}, {"item 1", 1}};
    dm_data_options o = {.one = true};
    dm_dataset d;
    dm_error err;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o.only = cases[i].only;
        CK_MSG(open_text(&d, file, &o, &err) == DM_OK, "%s", err.message);
        CK(d.n == 1 && d.items[0].number == cases[i].number &&
           d.items[0].chosen.ids[0] == 2 * (int)cases[i].number - 1);
        dm_dataset_close(&d);
    }
    o.only = "4";
    CK(open_text(&d, file, &o, &err) == DM_ERR_ARGUMENT && strstr(err.message, "has no item \"4\""));
    o.only = NULL;
    refused(file, &o, ":1:2: item \"a\"");
}

static void check_skipping(void)
{
    dm_data_options o = {.vocabulary = 100, .max_length = 4, .skip_invalid = true};
    dm_dataset d;
    dm_error err;

    CK_MSG(open_text(&d,
                     "[{\"id\":\"a\",\"ids\":[1,2],\"turns\":[]},\n" TOK(
                         "1,2", "[1,2]") ",{\"x\":1},\n"
                                         "{\"id\":\"long\",\"ids\":[1,2,3,4,5],\"turns\":[[1,5]]}," TOK(
                                             "1,2,3,4,5,6", "[1,3],[4,6]") "]",
                     &o, &err) == DM_OK,
           "%s", err.message);
    CK(d.n == 2 && d.report.items == 2 && d.report.skipped == 3 && d.report.truncated_items == 1 &&
       d.report.truncated_turns == 1);
    CK(d.n == 2 && strcmp(d.items[0].id, "item 1") == 0 && strcmp(d.items[1].id, "item 4") == 0 &&
       d.report.tokens == 5);
    CK_MSG(strstr(d.report.first_skipped, ":1:32: item \"a\": \"turns\" is empty") != NULL, "%s",
           d.report.first_skipped);
    dm_dataset_close(&d);
    refused("[{\"x\":1},{}]", &o, ": all 2 items are invalid; the first: ");
    refused("[{\"x\":1},{}", &o, ":1:12: expected ',' or ']'"); /* broken JSON is never skipped */
    o.skip_invalid = false;
    refused("[{\"x\":1},{}]", &o, ":1:2: item \"item 0\": has none");
}

int main(void)
{
    static const char *const texts[] = {"go b then see a and wait for the end of the same thing"};
    const size_t sizes[] = {strlen(texts[0])};
    const char *const *specials;
    const size_t n = dm_template_specials(DM_TEMPLATE_CHATML, &specials);
    dm_error err = {0};

    snprintf(path, sizeof path, "/tmp/dm-test-data-%ld", (long)getpid());
    CK_MSG(dm_tokenizer_train(&tokenizer, texts, sizes, 1, 300, 2, DM_WORD_SPLIT_GPT2, false, specials, n, &err) ==
               DM_OK,
           "%s", err.message);
    CK_MSG(dm_template_open(&chat, &(dm_template_choice){.name = "chatml"}, NULL, tokenizer, &err) == DM_OK, "%s",
           err.message);
    if (!tokenizer)
        return ck_done("dataset");
    check_text_forms();
    check_refused_text();
    check_equivalents();
    check_counts();
    check_streams();
    check_tokens();
    check_truncation();
    check_one();
    check_skipping();
    unlink(path);
    dm_template_close(&chat);
    dm_tokenizer_close(&tokenizer);
    return ck_done("dataset");
}
