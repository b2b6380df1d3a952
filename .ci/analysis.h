/* What the analysers of .ci/analysis do not see by themselves: a failure returns the status that it was given. */
#include "core/error.h"
#define dm_fail(err, status, ...) ((void)dm_fail(err, status, __VA_ARGS__), (status))
#define dm_fail_context(err, status, ...) ((void)dm_fail_context(err, status, __VA_ARGS__), (status))
