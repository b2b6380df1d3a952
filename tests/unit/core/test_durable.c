/* What outlasts a power cut: which directories are flushed, in which order, and what is said when one cannot be. This
 * program defines fsync and rename itself, notes their calls, and lets one of them fail. */
#define _DEFAULT_SOURCE /* syscall, mkdtemp */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/durable.h"
#include "core/files/file.h"
#include "core/files/output.h"
#include "tests/support/check.h"

static struct {
    ino_t flushed[16];
    int n, renamed; /* renamed: after how many flushes */
    int fails, why; /* flush `fails` (from 1) fails with `why` */
} seen;

int fsync(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && seen.n < 16)
        seen.flushed[seen.n++] = st.st_ino;
    errno = seen.why;
    return seen.fails == seen.n ? -1 : 0;
}

int rename(const char *from, const char *to)
{
    seen.renamed = seen.n;
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

static void begin(int fails, int why)
{
    memset(&seen, 0, sizeof seen);
    seen.fails = fails;
    seen.why = why;
    seen.renamed = -1;
}

static ino_t inode(const char *path)
{
    struct stat st;
    return CK_MSG(stat(path, &st) == 0, "%s: %s", path, strerror(errno)) ? st.st_ino : 0;
}

static void test_rename(void)
{
    dm_error err = {.status = DM_OK};

    begin(0, 0);
    CK(dm_dir_create("from", &err) == DM_OK);
    begin(0, 0);
    CK(dm_rename_durable("from", "to", &err) == DM_OK && seen.renamed == 0 && seen.n == 1);
    CK(seen.flushed[0] == inode("."));

    begin(1, EIO);
    CK(dm_rename_durable("to", "there", &err) == DM_ERR_FILE && dm_dir_exists("there") && !dm_dir_exists("to"));
    CK_MSG(strstr(err.message, "there: is in place, but") && strstr(err.message, strerror(EIO)), "%s", err.message);

    begin(1, EINVAL); /* a file system that cannot flush directories */
    CK(dm_rename_durable("there", "to", &err) == DM_OK);
    CK(dm_rename_durable("nothing", "there", &err) == DM_ERR_FILE && strstr(err.message, "cannot rename"));
}

static void test_parents(void)
{
    dm_error err = {.status = DM_OK};

    begin(0, 0);
    CK(dm_dir_create("a/b/c", &err) == DM_OK && seen.n == 3);
    CK(seen.flushed[0] == inode(".") && seen.flushed[1] == inode("a") && seen.flushed[2] == inode("a/b"));
    begin(0, 0);
    CK(dm_dir_create("a/b/c", &err) == DM_OK && seen.n == 0); /* nothing is new */

    begin(2, EIO);
    CK(dm_dir_create("x/y/z", &err) == DM_ERR_FILE && !dm_dir_exists("x/y"));
    CK_MSG(strstr(err.message, "x/y: cannot flush its directory to disk"), "%s", err.message);
}

/* The bytes, then the name, then the directory; a failure of the last is an error though the file is there. */
static void test_file(void)
{
    dm_error err = {.status = DM_OK};

    begin(0, 0);
    CK(dm_file_write("a/file", "text", 4, &err) == DM_OK && seen.n == 2 && seen.renamed == 1);
    CK(seen.flushed[0] == inode("a/file") && seen.flushed[1] == inode("a"));

    begin(1, EIO);
    CK(dm_file_write("a/other", "text", 4, &err) == DM_ERR_FILE && !dm_file_exists("a/other"));
    CK_MSG(strstr(err.message, "a/other: cannot"), "%s", err.message);
    begin(2, EIO);
    CK(dm_file_write("a/other", "text", 4, &err) == DM_ERR_FILE && dm_file_exists("a/other"));
    CK_MSG(strstr(err.message, "is in place, but"), "%s", err.message);
}

static void test_directory(void)
{
    dm_output_dir out;
    dm_error err = {.status = DM_OK};

    begin(0, 0);
    CK(dm_output_dir_open(&out, "a/made", false, &err) == DM_OK);
    const int opened = seen.n;
    CK(dm_output_dir_close(&out, DM_OK, &err) == DM_OK && seen.renamed >= opened && seen.n > seen.renamed);
    CK(seen.flushed[seen.n - 1] == inode("a"));
}

int main(void)
{
    const char *base = getenv("TMPDIR");
    char work[256];

    snprintf(work, sizeof work, "%s/durable-test.XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(work) || chdir(work) != 0) {
        perror(work);
        return 2;
    }
    test_rename();
    test_parents();
    test_file();
    test_directory();
    begin(0, 0);
    CK(chdir("/") == 0 && dm_dir_remove(work, NULL) == DM_OK);
    return ck_done("durable");
}
