/*
 * log.h - messages of the library: levels and one sink per process, set by the program. Silent by default.
 */
#ifndef ES_LOG_H
#define ES_LOG_H

typedef enum es_log_level { ES_LOG_ERROR, ES_LOG_WARN, ES_LOG_NOTE, ES_LOG_INFO, ES_LOG_DEBUG } es_log_level;

typedef void (*es_log_sink)(void *user, es_log_level level, const char *sentence);

/* sink NULL: silence. Set once before other threads start. The sink is called under a lock, one sentence at a time. */
void es_log_set(es_log_sink sink, void *user, es_log_level least);
void es_log(es_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
