/*
 * said.c - a speaker for each word, by the cheapest way through all of them.
 *
 *     cost of speaker j for a word    1 - share of the word inside turns of j; less in proportion where it is below 100 ms
 *     cost of a change                0.9 inside a sentence, 0.3 behind its end or a gap of half a second
 *
 * Turns and words come from two networks that do not know of each other, and each errs by some ten milliseconds: a stray
 * word in the middle of a sentence goes back to its neighbours, two do not. A word outside of all turns goes to the nearest
 * one within a second; farther away it costs nobody anything and so stays with the word before it.
 *
 * Aligners stretch words over silence. Times are mended for this purpose alone: a word lasts 20 ms at least, and one at an
 * edge of a phrase that is far longer than usual is cut on the side of the pause. Viterbi, "Error bounds for convolutional
 * codes" (1967).
 */
#include "speech/said.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_MS = 20, SHORT_MS = 100, LONG_MS = 600, GAP_MS = 500, NEAR_MS = 1000 };

static const double change_inside = 0.9, change_between = 0.3;

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Mended times of the words; length [n] is room. */
static void mend(int64_t (*span)[2], int64_t *length, const es_said *words, size_t n)
{
    int64_t longest;

    for (size_t i = 0; i < n; i++) {
        span[i][0] = words[i].start_ms;
        span[i][1] = words[i].end_ms < words[i].start_ms + LEAST_MS ? words[i].start_ms + LEAST_MS : words[i].end_ms;
        length[i] = span[i][1] - span[i][0];
    }
    qsort(length, n, sizeof *length, ascending);
    longest = 2 * length[n / 2] > LONG_MS ? 2 * length[n / 2] : LONG_MS;
    for (size_t i = 0; i < n; i++) {
        bool first = i == 0 || words[i - 1].ends_sentence || words[i].start_ms - words[i - 1].end_ms >= GAP_MS;
        bool last = i + 1 == n || words[i].ends_sentence || words[i + 1].start_ms - words[i].end_ms >= GAP_MS;
        if (span[i][1] - span[i][0] <= longest || first == last) continue;
        if (first) span[i][0] = span[i][1] - longest;
        else span[i][1] = span[i][0] + longest;
    }
}

/* The first turn that ends behind `at`; turns are apart and in order. */
static size_t turn_after(const es_spoken *turns, size_t m, int64_t at)
{
    size_t low = 0, high = m;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (turns[mid].end_ms <= at) low = mid + 1;
        else high = mid;
    }
    return low;
}

/* cost [speakers] of one word. Returns whether any turn is near. */
static bool costs(double *cost, int64_t start, int64_t end, const es_spoken *turns, size_t m, int speakers)
{
    size_t first = turn_after(turns, m, start);
    double length = (double)(end - start), weight = end - start < SHORT_MS ? length / SHORT_MS : 1; /* little time, little evidence */
    int64_t before, behind;
    bool inside = false;

    for (int j = 0; j < speakers; j++) cost[j] = weight;
    for (size_t i = first; i < m && turns[i].start_ms < end; i++) {
        int64_t a = turns[i].start_ms > start ? turns[i].start_ms : start, b = turns[i].end_ms < end ? turns[i].end_ms : end;
        if (b > a) cost[turns[i].speaker] -= weight * (double)(b - a) / length, inside = true;
    }
    if (inside) return true;
    before = first > 0 ? start - turns[first - 1].end_ms : INT64_MAX;
    behind = first < m ? turns[first].start_ms - end : INT64_MAX;
    if (before > NEAR_MS && behind > NEAR_MS) {
        for (int j = 0; j < speakers; j++) cost[j] = 0;
        return false;
    }
    cost[before <= behind ? turns[first - 1].speaker : turns[first].speaker] = 0;
    return true;
}

size_t es_said_bytes(size_t n, int speakers)
{
    size_t S = speakers > 0 ? (size_t)speakers : 0;

    return es_work_bytes(n, 2 * sizeof(int64_t)) + es_work_bytes(n, sizeof(int64_t)) + 2 * es_work_bytes(S, sizeof(double)) +
           es_work_bytes(n * S, sizeof(int32_t));
}

void es_said_by(es_said *words, size_t n, const es_spoken *turns, size_t m, int speakers, es_work *work)
{
    size_t S = speakers > 0 ? (size_t)speakers : 0, mark = work->used, j = 0;

    for (size_t i = 0; i < n; i++) words[i].speaker = -1, words[i].unsupported = true;
    if (!n || !S || !m) return;
    int64_t(*span)[2] = es_work_take(work, n, sizeof *span), *length = es_work_take(work, n, sizeof *length);
    double *cost = es_work_take(work, S, sizeof *cost), *sum = es_work_take(work, S, sizeof *sum);
    int32_t *from = es_work_take(work, n * S, sizeof *from); /* whose the word before is on the best way to each speaker */
    mend(span, length, words, n);
    for (size_t k = 0; k < S; k++) sum[k] = 0;
    for (size_t i = 0; i < n; i++) {
        bool between = i && (words[i - 1].ends_sentence || words[i].start_ms - words[i - 1].end_ms >= GAP_MS);
        double change = between ? change_between : change_inside;
        size_t best = 0;
        words[i].unsupported = !costs(cost, span[i][0], span[i][1], turns, m, speakers);
        for (size_t k = 1; k < S; k++)
            if (sum[k] < sum[best]) best = k;
        double cheapest = sum[best];
        for (size_t k = 0; k < S; k++) {
            bool changes = i && k != best && cheapest + change <= sum[k]; /* as late as it costs no more */
            from[i * S + k] = (int32_t)(changes ? best : k);
            sum[k] = (changes ? cheapest + change : sum[k]) + cost[k];
        }
    }
    for (size_t k = 1; k < S; k++)
        if (sum[k] < sum[j]) j = k;
    for (size_t i = n; i-- > 0; j = (size_t)from[i * S + j]) words[i].speaker = (int)j;
    es_work_drop(work, mark);
}

int es_said_meanwhile(const es_spoken *turns, size_t m, int64_t start_ms, int64_t end_ms, int speaker, size_t *from)
{
    int64_t most = 0;
    int other = -1;

    if (end_ms < start_ms + LEAST_MS) end_ms = start_ms + LEAST_MS;
    while (*from < m && turns[*from].end_ms <= start_ms) ++*from;
    for (size_t i = *from; i < m && turns[i].start_ms < end_ms; i++) {
        int64_t a = turns[i].start_ms > start_ms ? turns[i].start_ms : start_ms;
        int64_t b = turns[i].end_ms < end_ms ? turns[i].end_ms : end_ms;
        if (turns[i].speaker == speaker || b - a <= most || 4 * (b - a) < end_ms - start_ms) continue;
        most = b - a;
        other = turns[i].speaker;
    }
    return other;
}
