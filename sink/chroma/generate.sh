#!/usr/bin/env bash
# Makes tables.sql, rows.sql, indexes.sql and collection.json anew: what the real chromadb 1.5.9 leaves of an empty store,
# and the schema of a collection that is made as Open WebUI makes one.
#   generate.sh [PYTHON [FOLDER]]   PYTHON has chromadb; FOLDER is this one unless named
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
python=${1:-$(dirname "$("$here/../../testdata/servers/chroma.sh" install)")/python}
out=${2:-$here}
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT

ANONYMIZED_TELEMETRY=false "$python" - "$store" "$out" <<'END'
import json, pathlib, sqlite3, sys

import chromadb

store, out = sys.argv[1], pathlib.Path(sys.argv[2])
assert chromadb.__version__ == "1.5.9", chromadb.__version__
client = chromadb.PersistentClient(path=store)
db = sqlite3.connect(store + "/chroma.sqlite3")


def text(value):
    return db.execute("SELECT quote(?)", (value,)).fetchone()[0]


def write(name, statements):
    (out / name).write_text("".join(s + ";\n\n" for s in statements)[:-1])


shadow = "name NOT GLOB 'sqlite_*' AND name NOT GLOB 'embedding_fulltext_search_*'"
write("tables.sql", [s for (s,) in db.execute(f"SELECT sql FROM sqlite_master WHERE type = 'table' AND {shadow} ORDER BY rowid")])
write("indexes.sql", [s.replace("CREATE INDEX ", "CREATE INDEX IF NOT EXISTS ", 1)
                      for (s,) in db.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY rowid")])
rows = []
for (table,) in db.execute(f"SELECT name FROM sqlite_master WHERE type = 'table' AND {shadow} AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY rowid").fetchall():
    for row in db.execute(f"SELECT * FROM {table} ORDER BY rowid"):
        rows.append(f"INSERT INTO {table} VALUES ({', '.join(text(v) for v in row)})")
write("rows.sql", rows)

client.get_or_create_collection("file-x", metadata={"hnsw:space": "cosine"})
schema, config = db.execute("SELECT schema_str, config_json_str FROM collections").fetchone()
assert config == "{}", config
assert db.execute("SELECT key, str_value FROM collection_metadata").fetchall() == [("hnsw:space", "cosine")]
assert db.execute("SELECT count(*) FROM segment_metadata").fetchone() == (0,)
kinds = sorted(db.execute("SELECT scope, type FROM segments").fetchall())
assert kinds == [("METADATA", "urn:chroma:segment/metadata/sqlite"), ("VECTOR", "urn:chroma:segment/vector/hnsw-local-persisted")], kinds


def plain(v):
    """Leaves out what is the machine's: without it chromadb takes the number of processors."""
    if isinstance(v, dict):
        return {k: plain(w) for k, w in sorted(v.items()) if k != "num_threads"}
    return v


(out / "collection.json").write_text(json.dumps(plain(json.loads(schema)), separators=(",", ":")) + "\n")
END
