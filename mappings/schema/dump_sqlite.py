"""Prints the schema of a SQLite database as a sqlite/<head>.sql of this folder: dump_sqlite.py FILE

Every statement is as Open WebUI's alembic left it in sqlite_schema, which is what SQLite shows and what later
migrations read: tables by name, the indexes of each after it by name; SQLite's own are left out, as they come with
the tables. A blank line stands between two statements and nowhere else. The foreign keys of a table are put in
order, as alembic writes them in another one each time.
"""

import pathlib
import re
import sqlite3
import sys


FOREIGN_KEY = re.compile(r"\t(CONSTRAINT \S+ )?FOREIGN KEY\(")


def ordered(sql: str) -> str:
    lines = sql.split("\n")
    keys = [i for i, line in enumerate(lines) if FOREIGN_KEY.match(line)]
    texts = sorted(lines[i].removesuffix(", ") for i in keys)
    for i, text in zip(keys, texts):
        lines[i] = text + (", " if lines[i].endswith(", ") else "")
    return "\n".join(lines)


def main() -> None:
    file = pathlib.Path(sys.argv[1]).resolve()
    db = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    rows = db.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        " ORDER BY tbl_name, type = 'index', name"
    ).fetchall()
    text = []
    for kind, name, sql in rows:
        if kind not in ("table", "index"):
            sys.exit(f"dump_sqlite.py: {name} is a {kind}: only tables and indexes are known")
        if ";" in sql or "\n\n" in sql:
            sys.exit(f"dump_sqlite.py: the statement of {name} holds what separates statements")
        text.append(ordered(sql) + ";\n")
    sys.stdout.write("\n".join(text))


main()
