#!/usr/bin/env python3
"""Writes engine/text/tables.c: the character classes of BERT's tokenizer, and the characters that normalisation passes over.

usage: make_text_tables.py CLASSES.json > engine/text/tables.c

CLASSES.json holds inclusive ranges `deleted`, `space`, `mark` and `punct`, read off the reference tokenizer code point by
code point. The reference's normalisation tables are those of Unicode 9.0: characters added later count as starters
without a decomposition there. Which ones that concerns is asked of perl, which knows the age of every character; what perl does
not know yet is younger still, and the library that the tables correct may know it.
"""
import json
import subprocess
import sys

ASK = r"""
use Unicode::UCD;
for my $c (0 .. 0x10FFFF) {
    next if $c >= 0xD800 && $c <= 0xDFFF;
    my $s = chr($c);
    next if $s =~ /\p{Present_In: 9.0}/;
    print "$c\n" if $s =~ /\p{Unassigned}/ || $s !~ /\p{Canonical_Combining_Class: 0}/ || $s =~ /\p{Decomposition_Type: Canonical}/
                 || $s !~ /\p{NFC_Quick_Check: Yes}/;
}
"""


def ranges(points):
    out = []
    for c in points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, what, rows):
    print(f"\n/* {what} */")
    print(f"const es_text_range es_text_{name}[] = {{")
    line = "   "
    for a, b in rows:
        cell = f" {{0x{a:X}, 0x{b:X}}},"
        if len(line) + len(cell) > 118:
            print(line)
            line = "   "
        line += cell
    print(line)
    print("};")
    print(f"const int es_text_n_{name} = {len(rows)};")


def main():
    classes = json.load(open(sys.argv[1]))
    late = ranges(int(x) for x in subprocess.run(["perl", "-e", ASK], check=True, capture_output=True, text=True).stdout.split())
    print("/*")
    print(" * tables.c - character classes, written by tools/make_text_tables.py; edit that instead.")
    print(" */")
    print('#include "text/tables.h"')
    table("deleted", "BERT: taken out before anything else.", classes["deleted"])
    table("space", "BERT: become one blank.", classes["space"])
    table("mark", "BERT: non-spacing marks, taken out after decomposition.", classes["mark"])
    table("punct", "BERT: a word each.", classes["punct"])
    table("late", "Younger than Unicode 9.0: with a decomposition or a combining class that the references do not know, or not in 14.0 yet.", late)


main()
