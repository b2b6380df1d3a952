/* An environment in another process: "cmd:PROGRAM ARGUMENTS", a shell command that speaks the protocol of
 * docs/protocol.md over its standard input and output.
 *
 * A child that dies or does not answer in time is restarted and the episode's actions are replayed, at most
 * DM_PROTOCOL_RESTARTS times an episode; the replay must give the same answers. What is against the protocol is an
 * error at once. After an error the environment can be reset. Time limits in seconds: DMPO_ENV_START, DMPO_ENV_RESET
 * and DMPO_ENV_STEP of the process's environment, else 120, 60 and 60. */
#ifndef DM_AGENT_ENV_PROTOCOL_H
#define DM_AGENT_ENV_PROTOCOL_H

#include "agent/env/env.h"

#define DM_PROTOCOL_RESTARTS 2

extern const dm_env_class dm_env_cmd;

#endif
