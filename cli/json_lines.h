/*
 * json_lines.h - what ingest and watch tell programs: one JSON object a line on standard output, flushed.
 *
 * Every object has "event", and by it these members, always all of them; null stands for what is not known.
 *
 *     start     path index count                                        a file is begun
 *     progress  path index count stage fraction speed seconds audio_ms eta_seconds fraction_all eta_all_seconds
 *     stored    path index count id words speed seconds audio_ms        it is in the library
 *     known     path index count text                                   its content was there already
 *     failed    path index count text                                   why; the run goes on with the next file
 *     note      path index count text                                   something about the file that its owner should know
 *     message   level text                                              "error", "warning", "note" or "information"
 *     waiting                                                           of watch: there is nothing to do any more
 *     summary   files stored known failed audio_ms seconds speed files_per_hour windows tokens passages vectors
 *               passages_per_second arena_bytes peak_bytes cancelled stages: a list of {stage label seconds busy speed fill}
 *     error     code text                                               what ended the run
 *
 * index counts from 0 among the count files of a round: of the whole run for ingest, of what had arrived for watch. Fractions,
 * busy and fill are from 0 to 1 (busy of stages with threads of their own may be more), speed is seconds of sound a second,
 * audio_ms the recording's length. New members may come; those that are here stay.
 *
 * JSON is UTF-8, and names of files are bytes. What is not UTF-8 in a path is written as U+FFFD, one for each byte, and such an
 * object alone has path_hex besides: all bytes of the path in hexadecimal digits.
 */
#ifndef CLI_JSON_LINES_H
#define CLI_JSON_LINES_H

#include "earshot.h"

void cli_json_event(const es_event *e, bool quiet); /* quiet: failed alone */
void cli_json_message(int level, const char *sentence);
void cli_json_summary(const es_ingest_summary *s);
void cli_json_error(const es_error *error);

#endif
