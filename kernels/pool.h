/*
 * pool.h - a fixed set of threads that share out the jobs of one call at a time.
 *
 * es_pool_run() returns when every job has been done. The caller works too and never waits for a thread that has not
 * begun: a call costs two atomic operations a job, and a sleeping or descheduled worker only means that the caller does
 * more of them. Which thread takes which job is left open, so a job's result must not depend on it; but the first thread
 * begins with the first jobs, the last one with the last, so that jobs in the order of what they read find it in the
 * cache of the core that wrote it.
 */
#ifndef ES_POOL_H
#define ES_POOL_H

typedef struct es_pool es_pool;

enum { ES_POOL_MAX_JOBS = (1 << 20) - 1, ES_POOL_MAX_THREADS = 256 };

/* thread: 0 for the caller, 1 .. threads-1 for the workers: an index into per-thread scratch. */
typedef void (*es_job_fn)(void *arg, int job, int thread);

/* threads counts the caller, so 1 makes no thread. NULL when memory or threads are out. */
es_pool *es_pool_open(int threads);
void es_pool_close(es_pool *p); /* accepts NULL */
void es_pool_run(es_pool *p, int jobs, es_job_fn fn, void *arg);

#endif
