/*
 * language.c - the languages of Whisper's vocabularies.
 *
 * The order is that of the language tokens: language i is the i-th token after the start of transcript. The hundredth,
 * Cantonese, came with the vocabulary of the third large model; older models end at 98.
 */
#include "text/language.h"

#include <stddef.h>
#include <string.h>

typedef struct language {
    const char *code, *name;
} language;

static const language languages[] = {
    {"en", "english"}, {"zh", "chinese"}, {"de", "german"}, {"es", "spanish"}, {"ru", "russian"}, {"ko", "korean"},
    {"fr", "french"}, {"ja", "japanese"}, {"pt", "portuguese"}, {"tr", "turkish"}, {"pl", "polish"},
    {"ca", "catalan"}, {"nl", "dutch"}, {"ar", "arabic"}, {"sv", "swedish"}, {"it", "italian"},
    {"id", "indonesian"}, {"hi", "hindi"}, {"fi", "finnish"}, {"vi", "vietnamese"}, {"he", "hebrew"},
    {"uk", "ukrainian"}, {"el", "greek"}, {"ms", "malay"}, {"cs", "czech"}, {"ro", "romanian"}, {"da", "danish"},
    {"hu", "hungarian"}, {"ta", "tamil"}, {"no", "norwegian"}, {"th", "thai"}, {"ur", "urdu"}, {"hr", "croatian"},
    {"bg", "bulgarian"}, {"lt", "lithuanian"}, {"la", "latin"}, {"mi", "maori"}, {"ml", "malayalam"},
    {"cy", "welsh"}, {"sk", "slovak"}, {"te", "telugu"}, {"fa", "persian"}, {"lv", "latvian"}, {"bn", "bengali"},
    {"sr", "serbian"}, {"az", "azerbaijani"}, {"sl", "slovenian"}, {"kn", "kannada"}, {"et", "estonian"},
    {"mk", "macedonian"}, {"br", "breton"}, {"eu", "basque"}, {"is", "icelandic"}, {"hy", "armenian"},
    {"ne", "nepali"}, {"mn", "mongolian"}, {"bs", "bosnian"}, {"kk", "kazakh"}, {"sq", "albanian"},
    {"sw", "swahili"}, {"gl", "galician"}, {"mr", "marathi"}, {"pa", "punjabi"}, {"si", "sinhala"}, {"km", "khmer"},
    {"sn", "shona"}, {"yo", "yoruba"}, {"so", "somali"}, {"af", "afrikaans"}, {"oc", "occitan"}, {"ka", "georgian"},
    {"be", "belarusian"}, {"tg", "tajik"}, {"sd", "sindhi"}, {"gu", "gujarati"}, {"am", "amharic"},
    {"yi", "yiddish"}, {"lo", "lao"}, {"uz", "uzbek"}, {"fo", "faroese"}, {"ht", "haitian creole"},
    {"ps", "pashto"}, {"tk", "turkmen"}, {"nn", "nynorsk"}, {"mt", "maltese"}, {"sa", "sanskrit"},
    {"lb", "luxembourgish"}, {"my", "myanmar"}, {"bo", "tibetan"}, {"tl", "tagalog"}, {"mg", "malagasy"},
    {"as", "assamese"}, {"tt", "tatar"}, {"haw", "hawaiian"}, {"ln", "lingala"}, {"ha", "hausa"}, {"ba", "bashkir"},
    {"jw", "javanese"}, {"su", "sundanese"}, {"yue", "cantonese"},
};

/* Other names of the same languages. */
static const language aliases[] = {
    {"my", "burmese"}, {"ca", "valencian"}, {"nl", "flemish"}, {"ht", "haitian"}, {"lb", "letzeburgesch"},
    {"ps", "pushto"}, {"pa", "panjabi"}, {"ro", "moldavian"}, {"ro", "moldovan"}, {"si", "sinhalese"},
    {"es", "castilian"}, {"zh", "mandarin"},
};

enum { LANGUAGES = sizeof languages / sizeof *languages, ALIASES = sizeof aliases / sizeof *aliases };

_Static_assert(LANGUAGES == 100, "one for every language token");

const char *es_language_code(int i)
{
    return i >= 0 && i < LANGUAGES ? languages[i].code : NULL;
}

const char *es_language_name(int i)
{
    return i >= 0 && i < LANGUAGES ? languages[i].name : NULL;
}

/* Of ASCII letters only, so that the answer does not hang on the locale of the process. */
static bool same(const char *a, const char *b)
{
    for (;; a++, b++) {
        int x = *a >= 'A' && *a <= 'Z' ? *a + 32 : *a;
        if (x != *b) return false;
        if (!x) return true;
    }
}

int es_language_index(const char *code_or_name)
{
    if (!code_or_name) return -1;
    for (int i = 0; i < LANGUAGES; i++)
        if (same(code_or_name, languages[i].code) || same(code_or_name, languages[i].name)) return i;
    for (int i = 0; i < ALIASES; i++)
        if (same(code_or_name, aliases[i].name)) return es_language_index(aliases[i].code);
    return -1;
}

bool es_language_without_blanks(const char *code)
{
    static const char *const codes[] = {"zh", "ja", "th", "lo", "my", "yue"};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(code, codes[i]) == 0) return true;
    return false;
}
