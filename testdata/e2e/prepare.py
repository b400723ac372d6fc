#!/usr/bin/env python3
"""Small steps on a private copy of the data folder that run.sh needs.

    prepare.py ports N                     prints N free ports of 127.0.0.1
    prepare.py config DATA_DIR PORT        points the stored configuration at the embeddings server on PORT
    prepare.py rebase DATA_DIR             rewrites file.path to where the folder is, so that its files can be served
    prepare.py wait URL PID                waits until the server at URL is healthy; fails when the process PID ends
    prepare.py calendars URL DATA_DIR      reads the calendars of every user once, which creates the default ones
    prepare.py damage DATA_DIR             changes one message, one file's bytes, one knowledge base's vectors
    prepare.py place STORE ENDPOINT NAME   makes an empty bucket NAME on that server (s3, gcs or azure); prints what
                                           file.path begins with in it, then Open WebUI's variables for it, one a line
"""
import os
import pathlib
import sqlite3
import sys
import time
import urllib.request

import catalogue
import compare

STORED_URL = "http://127.0.0.1:18998/v1"
STORED_ROOT = "/app/backend/data/"


def ports(count):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "servers"))
    from free_ports import free_ports

    print(*free_ports(int(count)))


def change(data_dir, query, values=()):
    db = sqlite3.connect(pathlib.Path(data_dir) / "webui.db")
    with db:
        changed = db.execute(query, values).rowcount
    db.close()
    if not changed:
        raise SystemExit(f"{data_dir}: nothing to change: {query}")
    return changed


def config(data_dir, port):
    change(data_dir, "UPDATE config SET value = replace(value, ?, ?) WHERE instr(value, ?)",
           (STORED_URL, f"http://127.0.0.1:{port}/v1", STORED_URL))


def rebase(data_dir):
    root = str(pathlib.Path(data_dir).resolve()) + "/"
    change(data_dir, "UPDATE file SET path = ? || substr(path, ?) WHERE substr(path, 1, ?) = ?",
           (root, len(STORED_ROOT) + 1, len(STORED_ROOT), STORED_ROOT))


def wait(url, pid):
    until = time.monotonic() + 300
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url + "/health", timeout=2):
                return
        except OSError:
            os.kill(int(pid), 0)
            time.sleep(0.3)
    raise SystemExit(f"{url} is not healthy after 300 s")


def calendars(url, data_dir):
    server = compare.Server(url, data_dir)
    for _, email, _ in catalogue.Source(data_dir).users():
        server.sign_in(email, "Passw0rd!")
        status, _, body = server.ask(email, "/api/v1/calendars/")
        if status != 200:
            raise SystemExit(f"reading the calendars of {email}: {status} {body[:200]!r}")


def damage(data_dir):
    source = catalogue.Source(data_dir)
    (message,) = source.rows("SELECT id FROM message ORDER BY id LIMIT 1")[0]
    change(data_dir, "UPDATE message SET content = content || '.' WHERE id = ?", (message,))
    upload = sorted((pathlib.Path(data_dir) / "uploads").iterdir())[0]
    data = bytearray(upload.read_bytes())
    data[len(data) // 2] ^= 1
    upload.write_bytes(data)
    # The folder of an index and its rows stay; the application no longer finds the collection under its name.
    base = catalogue.knowledge_bases(source)[0]
    db = sqlite3.connect(pathlib.Path(data_dir) / "vector_db" / "chroma.sqlite3")
    with db:
        if db.execute("UPDATE collections SET name = ? WHERE name = ?", (base + "-gone", base)).rowcount != 1:
            raise SystemExit(f"no collection {base}")
    db.close()


def place(store, endpoint, name):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "storage"))
    import stores

    store = stores.stores(None)[store]
    store.endpoint, store.prefix = endpoint, ""
    made = store.place(name, None)
    print(made.form(""), *(f"{k}={v}" for k, v in made.variables.items()), sep="\n")


if __name__ == "__main__":
    steps = {f.__name__: f for f in (ports, config, rebase, wait, calendars, damage, place)}
    if len(sys.argv) < 2 or sys.argv[1] not in steps:
        sys.exit(__doc__)
    steps[sys.argv[1]](*sys.argv[2:])
