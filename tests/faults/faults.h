/* What the driver says to the shim, and what the shim answers: a page that both map. */
#ifndef DM_TESTS_FAULTS_FAULTS_H
#define DM_TESTS_FAULTS_FAULTS_H

#include <sys/types.h>

typedef enum faults_kind { FAULTS_FILE = 1, FAULTS_MEMORY = 2, FAULTS_PROCESS = 4 } faults_kind;

typedef enum faults_action {
    FAULTS_COUNT, /* nothing happens */
    FAULTS_ONCE,  /* the call fails */
    FAULTS_ALL,   /* it and all after it */
    FAULTS_SHORT, /* a read or write stops halfway */
    FAULTS_KILL,  /* the process dies before it; in the middle of a write */
    FAULTS_SIGNAL /* SIGTERM comes before it */
} faults_action;

typedef struct faults_page {
    int kinds; /* of faults_kind: the calls that count */
    faults_action action;
    int error;      /* errno of what fails */
    int first_only; /* processes that the first one starts are not disturbed */
    long at;        /* the call, from 1 on */
    long calls;     /* so far */
    int struck;     /* it was reached */
    pid_t first;
} faults_page;

#endif
