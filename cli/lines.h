/*
 * lines.h - some lines at the foot of a terminal that are written over again and again.
 *
 * They stand on stderr. Everything else that is printed goes above them: whoever prints clears them first, which cli_say() and
 * the program's sink of messages do themselves, and draws them again. Where stderr is no terminal, or one that cannot move its
 * cursor, nothing is ever drawn.
 */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>

enum { CLI_LINES_MOST = 24 };

bool cli_is_terminal(void); /* stderr is one that understands \r and erasing a line */
bool cli_has_color(void);   /* and NO_COLOR is not set */
int cli_columns(void);      /* of that terminal; 80 where it does not say */
int cli_rows(void);         /* 24 likewise */

/* Lines of printable UTF-8, with sequences of color in them or without; each is cut to the terminal's width. At most
 * CLI_LINES_MOST, and as many as there are rows. n 0: they are cleared. */
void cli_lines_show(const char *const *lines, size_t n);
/* One line; NULL or "" clears it. */
void cli_progress_show(const char *line);

/* What stands there stays there, and the cursor is below it: for a signal's handler that has written something. */
void cli_lines_forget(void);

/* text, cut to so many columns with "..." in its middle, where the ends of a name say most; returns out. */
const char *cli_shortened(char *out, size_t room, const char *text, int columns);

#endif
