/*
 * alone.h - the short way for a recording in which one enrolled person speaks alone: nobody has to be told apart.
 *
 *     windows of the segmentation -> is it one voice at a time, and never two?
 *     speech in pieces of 3 s, every 1.5 s -> vectors -> is each of them one enrolled person's?
 *     then that person speaks wherever anyone does; else the whole way, with the windows that are there already
 *
 * The weakest piece decides, not the mean: a short second voice would hide in a mean. The network for voices hears the
 * speech twice, where telling apart at a step of a second lets it hear each second in up to ten windows.
 */
#ifndef ES_ALONE_H
#define ES_ALONE_H

#include "base/people.h"
#include "pipeline/speakers/diarize.h"

/* w: as es_diarize_segment() left it. people: who is enrolled, with the spaces of their vectors; space: of the network
 * that names voices, which is m->voice, or m->diarizer where that is NULL. *taken: out is filled, as es_diarize() fills
 * it, and the rest of the work is needless. why [room]: a sentence in either case; "" where nobody is enrolled at all.
 */
int es_alone_try(es_diarization *out, bool *taken, char *why, size_t room, const es_diarize_models *m,
                 const es_diarize_windows *w, const es_sound *sound, const es_people *people,
                 const es_diarize_options *o, es_err *err);

#endif
