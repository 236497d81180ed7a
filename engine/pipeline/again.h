/*
 * again.h - one stage of a recording anew: which parts of its result are made, and where the others come from.
 *
 *     speakers    from the sound                   where anyone speaks, turns, speakers, their vectors
 *     words       from the sound where anyone speaks
 *     meaning     from both                        whose each word is, passages, their vectors, the index
 *
 * What is not made anew is taken from the library, in one read, before the first step; the steps look at the set of
 * parts and leave the others out (steps.h). What a part was made with stays with it: its packs, and its share of the
 * settings.
 *
 * Words that are kept keep their times and their tokens also where speech is found elsewhere by now; those who speak
 * are kept with where they do.
 */
#ifndef ES_AGAIN_H
#define ES_AGAIN_H

#include "pipeline/speakers/hear.h"
#include "store/store.h"

/* The parts of a result; a set of them is their sum. */
enum es_part {
    ES_PART_SPEAKERS = 1,
    ES_PART_WORDS = 2,
    ES_PART_MEANING = 4, /* follows from the two others, and is made anew with either */
    ES_PARTS_OF_SOUND = ES_PART_SPEAKERS | ES_PART_WORDS,
    ES_PARTS_ALL = ES_PARTS_OF_SOUND | ES_PART_MEANING
};

/* What is made anew with a stage by name: "words", "speakers", "meaning"; NULL: everything. 0 for another name. */
unsigned es_again_parts(const char *stage);

/* Refuses before the first recording a stage that has no pack now. */
int es_again_check(es_session *s, const es_hear_options *hear, unsigned parts, es_err *err);

/* Fills r, of which media has content and track, with the parts that are not made anew; without ES_PARTS_OF_SOUND also
 * with the rest of media, but for path and mtime_ns. *parts is what has to be made: more than was asked for where the
 * library lacks what would be kept; note is told. settings: of this run; those of the result are in r->made from here
 * on. Where words are kept and speakers are not, r->who is what it was until es_steps_hear(). */
int es_again_take(es_result *r, unsigned *parts, es_store *store, const es_session *s, const char *settings,
                  void (*note)(void *user, const char *sentence), void *user, es_err *err);

#endif
