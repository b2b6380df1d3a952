/* A directory with a config.json that a test writes. Failures are failed checks. */
#ifndef DM_TESTS_SUPPORT_CONFIG_TOOL_H
#define DM_TESTS_SUPPORT_CONFIG_TOOL_H

#include "model/network/config.h"

extern char config_dir[64];

void config_open(void); /* makes it */
void config_close(void);

void config_put(const char *text);
/* `type` and the sizes that every configuration has, then `more` (begins with a comma or is empty). */
void config_put_type(const char *type, const char *more);

dm_config config_read(const char *from);
dm_config config_of(const char *type, const char *more); /* put, then read */

#endif
