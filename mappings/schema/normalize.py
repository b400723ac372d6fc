"""Turns what `pg_dump --schema-only` prints (stdin) into a <head>.sql of this folder (stdout).

Left out: comments, psql's \\restrict and \\unrestrict, SET, SELECT set_config, runs of blank lines. Everything
else stays as pg_dump wrote it, "public." included: a schema.Schema puts the target's name in its place.

--no-not-null-names also leaves out the names of NOT NULL constraints, which PostgreSQL keeps since 18 and
older servers read and forget: for comparing with what an older server prints.
"""

import re
import sys

SKIP = re.compile(r"--|\\(un)?restrict\b|SET \w+ = .*;$|SELECT pg_catalog\.set_config\(.*;$")
NOT_NULL_NAME = re.compile(r' CONSTRAINT (\w+|"[^"]+")(?= NOT NULL,?$)')


def main() -> None:
    text, blank = [], True
    for line in sys.stdin.read().splitlines():
        if not line.strip():
            blank = True
            continue
        if SKIP.match(line):
            continue
        if "--no-not-null-names" in sys.argv[1:]:
            line = NOT_NULL_NAME.sub("", line)
        if blank and text:
            text.append("")
        text.append(line)
        blank = False
    sys.stdout.write("\n".join(text) + "\n")


main()
