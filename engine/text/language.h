/*
 * language.h - Whisper's languages: codes in the order of their tokens, names, aliases.
 */
#ifndef ES_LANGUAGE_H
#define ES_LANGUAGE_H

#include <stdbool.h>

const char *es_language_code(int i); /* 0 .. 99, "en" ...; NULL outside */
const char *es_language_name(int i); /* "english" ...; NULL outside */
/* By code, name or alias, whatever the case of its ASCII letters; -1 unknown. */
int es_language_index(const char *code_or_name);
/* zh ja th lo my yue: words are written without blanks between them. */
bool es_language_without_blanks(const char *code);

#endif
