/*
 * score.h - how far one account of who spoke when is from another: the diarization error rate, and the equal error rate of
 * scores.
 *
 *     DER = (missed + false alarm + confused) / time of the reference's speakers, overlap counted for each of them
 *
 * after the one-to-one map between the speakers of both that shares the most time. Times are whole microseconds, so sums
 * are exact. NIST, "The 2009 Rich Transcription Meeting Recognition Evaluation Plan".
 */
#ifndef ES_SCORE_H
#define ES_SCORE_H

#include "speech/windows.h"

typedef struct es_der {
    int64_t miss_us, false_alarm_us, confusion_us, total_us;
} es_der;

static inline double es_der_rate(es_der d)
{
    int64_t wrong = d.miss_us + d.false_alarm_us + d.confusion_us;
    return d.total_us ? (double)wrong / (double)d.total_us : wrong ? 1 : 0;
}

/* A span of the recording. */
typedef struct es_score_span {
    int64_t start_us, end_us;
} es_score_span;

/* regions: what is scored, ascending and apart; n_regions 0: from the first onset to the last end of both. collar_us: left
 * out on either side of every boundary of the reference. map, if not NULL: for each speaker of the system, 0 .. n_system-1,
 * the one of the reference it stands for, or -1. 0, or -1 when memory is out. */
int es_score_der(es_der *out, const es_turn *reference, size_t n, const es_turn *system, size_t m, const es_score_span *regions,
                 size_t n_regions, int64_t collar_us, int *map, int n_system);

/* The one-to-one assignment of rows to columns with the largest sum of gain [n, m] >= 0: column[n], -1 for none. */
void es_score_assign(int *column, const double *gain, int n, int m, es_work *work);
size_t es_score_assign_bytes(int n, int m);

/* Where the rates of false acceptance and false rejection cross, and the threshold there; accept when score >= t. Both
 * arrays are sorted by the call. n, m > 0. */
double es_score_eer(double *targets, size_t n, double *others, size_t m, double *threshold);

#endif
