/* dmpo chat in a terminal: prompts, Ctrl-C in an answer and at the prompt, Ctrl-D, errors that end nothing, and that no
 * control character of a model's reaches the terminal. From a pipe: tests/shell/chat.sh. */
#define _XOPEN_SOURCE 700 /* posix_openpt */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/check.h"
#include "core/files/file.h"
#include "core/system.h"
#include "io/tokenizer/unicode.h"

#define WAIT_MS 60000 /* an emulator on a busy machine */

static char work[] = "/tmp/dmpo-chat.XXXXXX";
static const char *build, *source, *wrapper;

typedef struct session {
    int fd;
    pid_t pid;
    char text[1 << 18]; /* all that the terminal showed */
    size_t n, seen;     /* text[0..seen) was expected already */
    int lost;           /* something did not come: the rest is not waited for */
} session;

static session s;

#define ENDLESS "--temperature 3 --top-k 3"
#define ANYTHING "--temperature 3"

static int run(const char *arguments)
{
    char line[4096];
    snprintf(line, sizeof line, "%s '%s/dmpo' %s >'%s/log' 2>&1", wrapper, build, arguments, work);
    return system(line) == 0;
}

static int make_model(void)
{
    char line[2048];
    snprintf(line, sizeof line, "tokenizer train --output '%s/tok' --vocabulary 400 '%s/tests/data/demo/sft.jsonl'",
             work, source);
    if (!run(line))
        return 0;
    snprintf(line, sizeof line,
             "init --output '%s/model' --tokenizer '%s/tok' --hidden 32 --intermediate 64 --layers 2 --heads 2", work,
             work);
    return run(line);
}

/* sampling: temperature and top-k. With 3 of the most probable tokens the model never ends an answer. */
static int begin(const char *sampling)
{
    char line[4096];

    memset(&s, 0, sizeof s);
    snprintf(line, sizeof line,
             "exec %s '%s/dmpo' chat --model '%s/model' %s --max-tokens 9999999 --max-length 100000 "
             "--threads 1 --quiet 2>&1",
             wrapper, build, work, sampling);
    s.fd = posix_openpt(O_RDWR | O_NOCTTY);
    if (s.fd < 0 || grantpt(s.fd) != 0 || unlockpt(s.fd) != 0)
        return 0;
    const char *name = ptsname(s.fd);
    s.pid = fork();
    if (s.pid == 0) {
        setsid();
        const int tty = name ? open(name, O_RDWR) : -1; /* the first one becomes the session's terminal */
        if (tty < 0)
            _exit(127);
        for (int i = 0; i < 3; i++)
            dup2(tty, i);
        close(s.fd);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    return s.pid > 0;
}

/* More of the session; 0 at its end or when nothing comes. */
static int more(int timeout)
{
    struct pollfd p = {.fd = s.fd, .events = POLLIN};
    if (s.n + 1 >= sizeof s.text || poll(&p, 1, timeout) <= 0)
        return 0;
    const ssize_t n = read(s.fd, s.text + s.n, sizeof s.text - 1 - s.n);
    if (n <= 0)
        return 0;
    s.n += (size_t)n;
    s.text[s.n] = 0;
    return 1;
}

static int expect(const char *what)
{
    const double end = dm_seconds() + WAIT_MS / 1000.0;
    while (!s.lost) {
        const char *found = strstr(s.text + s.seen, what);
        if (found) {
            s.seen = (size_t)(found - s.text) + strlen(what);
            return 1;
        }
        if (dm_seconds() > end || !more(WAIT_MS)) {
            s.lost = 1;
            kill(s.pid, SIGKILL);
        }
    }
    return 0;
}

#define EXPECT(what) CK_MSG(expect(what), "no '%s' after: %s", what, s.text + (s.n > 300 ? s.n - 300 : 0))

static void type(const char *keys)
{
    CK(write(s.fd, keys, strlen(keys)) == (ssize_t)strlen(keys));
}

static int finish(void)
{
    int status = -1;
    while (more(WAIT_MS))
        ;
    waitpid(s.pid, &status, 0);
    close(s.fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Waits until at least `bytes` of an answer are there. */
static void listen_for(size_t bytes)
{
    const size_t from = s.seen;
    while (!s.lost && s.n < from + bytes && more(WAIT_MS))
        ;
    CK_MSG(s.n >= from + bytes, "no answer");
}

static void stop_an_answer(const char *message)
{
    type(message);
    EXPECT("\r\n"); /* its echo */
    listen_for(40);
    type("\003");
    EXPECT("> ");
}

static void check_conversation(void)
{
    if (!CK(begin(ENDLESS)))
        return;
    EXPECT("> ");
    stop_an_answer("Look around.\n");
    type("/stats\n");
    EXPECT(", 2 messages"); /* what was said is kept */
    type("/nosuch\n");
    EXPECT("unknown command /nosuch; the commands are /help,");
    type("/load nosuch\n");
    EXPECT("cannot open");
    EXPECT("> ");
    type("a \\\n");
    EXPECT("| ");
    stop_an_answer("b\n");
    type("/stats\n");
    EXPECT(", 4 messages");
    type("/load nosuch\n");
    EXPECT("cannot open");
    type("/stats\n");
    EXPECT(", 4 messages"); /* what failed changed nothing */
    EXPECT("> ");
    stop_an_answer("/retry\n");
    type("/stats\n");
    EXPECT(", 4 messages");
    EXPECT("> ");
    stop_an_answer("Go on\n");
    type("\003"); /* the second in a row */
    CK(finish() == 0);
}

/* A model that says anything. */
static void check_characters(void)
{
    if (!CK(begin(ANYTHING)))
        return;
    for (int i = 0; i < 3; i++) {
        EXPECT("> ");
        type("Look around.\n");
    }
    EXPECT("> ");
    type("/quit\n");
    CK(finish() == 0);
    CK(s.n > 300); /* enough for some bytes of all kinds */
    CK_MSG(dm_utf8_check(s.text, s.n) == s.n, "byte %zu of the terminal's is not UTF-8", dm_utf8_check(s.text, s.n));
    for (size_t i = 0; i < s.n; i++)
        CK_MSG((unsigned char)s.text[i] >= 0x20 ? s.text[i] != 0x7F : strchr("\r\n\t", s.text[i]) && s.text[i],
               "byte %zu of the terminal's is %d", i, s.text[i]);
}

/* A terminal keeps 4095 bytes of a line: one that is cut is not taken for what was typed. */
static void check_long_line(void)
{
    static char line[6002];
    if (!CK(begin(ANYTHING)))
        return;
    EXPECT("> ");
    memset(line, 'a', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    type(line);
    EXPECT("the terminal keeps 4095 bytes");
    EXPECT("> ");
    type("/stats\n");
    EXPECT("0 messages");
    type("/quit\n");
    CK(finish() == 0);
}

static void check_leaving(void)
{
    if (!CK(begin(ENDLESS)))
        return;
    EXPECT("> ");
    type("half a li\003");
    EXPECT("Ctrl-C again");
    EXPECT("> ");
    type("/stats\n");
    EXPECT(", 0 messages"); /* the half line is forgotten */
    EXPECT("> ");
    type("\003");
    EXPECT("Ctrl-C again"); /* a line came in between */
    EXPECT("> ");
    type("\003");
    CK(finish() == 0);

    if (!CK(begin(ENDLESS)))
        return;
    EXPECT("> ");
    type("\004");
    CK(finish() == 0);

    if (!CK(begin(ENDLESS)))
        return;
    EXPECT("> ");
    CK(kill(s.pid, SIGTERM) == 0);
    CK(finish() == 0);
}

int main(void)
{
    source = getenv("SRC") ? getenv("SRC") : ".";
    build = getenv("BUILD") ? getenv("BUILD") : "build";
    wrapper = getenv("EXEC_WRAPPER") ? getenv("EXEC_WRAPPER") : "";
    const int probe = posix_openpt(O_RDWR | O_NOCTTY);
    if (probe < 0) {
        ck_skip("this system has no pseudo-terminals");
        return ck_done("chat_terminal");
    }
    close(probe);
    if (CK(mkdtemp(work) != NULL) && CK(make_model())) {
        check_conversation();
        check_characters();
        check_leaving();
        check_long_line();
    }
    dm_error err;
    CK(dm_dir_remove(work, &err) == DM_OK);
    return ck_done("chat_terminal");
}
