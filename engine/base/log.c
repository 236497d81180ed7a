/*
 * log.c - one sink for the process.
 *
 * The sink is the one piece of state outside a handle: messages come from rooms that know no engine, and a process has
 * one terminal. It is set once, before other threads start, so only the call into it needs the lock.
 */
#define _POSIX_C_SOURCE 200809L
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

static struct {
    es_log_sink sink;
    void *user;
    es_log_level least;
    pthread_mutex_t lock;
} to = {.lock = PTHREAD_MUTEX_INITIALIZER};

void es_log_set(es_log_sink sink, void *user, es_log_level least)
{
    pthread_mutex_lock(&to.lock);
    to.sink = sink;
    to.user = user;
    to.least = least;
    pthread_mutex_unlock(&to.lock);
}

void es_log(es_log_level level, const char *format, ...)
{
    char raw[2048], sentence[1024];
    va_list ap;

    if (!to.sink || level > to.least) return;
    va_start(ap, format);
    if (vsnprintf(raw, sizeof raw, format, ap) < 0) raw[0] = 0;
    va_end(ap);
    es_printable(sentence, sizeof sentence, raw);
    pthread_mutex_lock(&to.lock);
    to.sink(to.user, level, sentence);
    pthread_mutex_unlock(&to.lock);
}
