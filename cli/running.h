/*
 * running.h - the recordings that are at work, as lines on a terminal: one each, and the sum of all.
 *
 *      45 %  long name of a talk.mp4  transcribing    12.3 × real time  1:23 left
 *       3 %  interview.wav            finding speech                    4:10 left
 *     3 of 20 files, 21 %  8.4 × real time  1:02:03 left
 *
 * On a narrow terminal names become shorter, then columns are left out, what says least first; where there are more recordings
 * than rows, the last line says how many are not shown.
 */
#ifndef CLI_RUNNING_H
#define CLI_RUNNING_H

#include "earshot.h"

typedef struct cli_running cli_running;

cli_running *cli_running_open(void); /* NULL without memory, which all others accept */
void cli_running_close(cli_running *r);
/* Takes an event in and draws the lines, at most a dozen times a second; before other text is printed, cli_progress_show(NULL). */
void cli_running_hear(cli_running *r, const es_event *e);
/* Draws them now. */
void cli_running_show(cli_running *r);

#endif
