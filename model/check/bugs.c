#include "model/check/bugs.h"

const dm_bug dm_bugs[] = {{0}};
const size_t dm_bugs_count = 0;
