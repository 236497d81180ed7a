/*
 * postings.h - where in one recording one term occurs: a list of numbers in as few bytes as they need.
 *
 * A list is a value of the table words. Numbers are varints, seven bits to a byte, the lowest first:
 *
 *   u8 1            the format
 *   n               passages the term occurs in, at least 1
 *   most            the largest count among them
 *   least           words of the shortest of them: with `most`, what no score here can exceed
 *   bytes           of the passages' part
 *   n x passages    (number - the last one - 1) * 2, + 1 where the term occurs once; else its count - 2 follows
 *   n x positions   count x (position - the last one - 1); only in lists that keep positions
 *
 * Lists are cut by recordings, so a list is as long as a recording has passages, and is written and removed with it:
 * what the table holds does not depend on the order in which recordings came. Readers take damaged lists for what they
 * are: a read past the end ends the list, and says so.
 */
#ifndef ES_POSTINGS_H
#define ES_POSTINGS_H

#include "store/record.h"

typedef struct es_posting {
    uint32_t passage, position;
} es_posting;

/* p: in order of passage, then position; n at least 1. lengths: words of each passage of the recording. Begins r anew.
 */
int es_postings_write(es_record *r, const es_posting *p, size_t n, bool positions, const uint32_t *lengths,
                      es_err *err);

typedef struct es_postings {
    uint32_t n, most, least;
    const uint8_t *at, *end;         /* of the passages' part */
    const uint8_t *places, *all_end; /* the positions' part */
    uint32_t passage, count;         /* where it stands; passage starts as -1 */
    uint32_t left;                   /* passages not yet read */
    bool damaged;
} es_postings;

/* false where the head does not parse. */
bool es_postings_open(es_postings *l, es_bytes value);
/* To the next passage; false past the last, or where the list is damaged. */
bool es_postings_next(es_postings *l);
/* The positions of the passage it stands at, which must be asked for at each one or at none. Returns how many were
 * written to `places`, at most `room` of them. */
uint32_t es_postings_places(es_postings *l, uint32_t *places, uint32_t room);
/* Whether the list is whole: every passage below n_passages and every number in its place. */
bool es_postings_check(es_bytes value, bool positions, uint32_t n_passages);

#endif
