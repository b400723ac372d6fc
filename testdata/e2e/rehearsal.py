#!/usr/bin/env python3
"""Steps of rehearse.sh: rows that act by themselves, a listener that they reach, and a look at what was rehearsed.

    rehearsal.py act DATA_DIR PORT         makes rows that are due, and webhooks and servers that lead to PORT
    rehearsal.py listen PORT FILE          answers every request and writes a line about it into FILE
    rehearsal.py acted DATA_DIR FILE LOG   waits until a started Open WebUI has acted on all of it, and says on what
    rehearsal.py look URL DATA_DIR         signs in as every user of the data folder and reads their chats and files
"""
import http.server
import json
import pathlib
import sqlite3
import sys
import time

import catalogue
import compare

# What reaches the listener, by the beginning of the request: (request, what has acted).
REACHED = {
    "POST /events": "webhook of events",
    "POST /user": "webhook of a user",
    "GET /function": "event function",
    "GET /tools": "tool server",
    "GET /terminals": "terminal server",
}

# What an Open WebUI says that connects to an app, whose key is none here.
APP = "App due socket unavailable"

# What is written by a started Open WebUI: (what has acted, query that is not 0 then).
WRITTEN = {
    "timer": "SELECT count(*) FROM chat WHERE id = 'due' AND json_extract(meta, '$.status') <> 'pending'",
    "automation": "SELECT count(*) FROM automation_run WHERE created_at > {began}",
    "calendar alert": "SELECT count(*) FROM calendar_event WHERE json_extract(meta, '$.alerted_at') IS NOT NULL",
}

EVENT = """
import urllib.request

class Event:
    def event(self, event):
        urllib.request.urlopen("%s/function", timeout=5).read()
"""


def act(data_dir, port):
    url, now = f"http://127.0.0.1:{port}", time.time_ns()
    db = sqlite3.connect(pathlib.Path(data_dir) / "webui.db")
    (admin,) = db.execute("SELECT id FROM user WHERE role = 'admin' ORDER BY created_at LIMIT 1").fetchone()
    settings = {
        "events.webhooks": [{"id": "due", "name": "Due", "url": url + "/events", "enabled": True, "events": ["*"]}],
        "ui.enable_user_webhooks": True,
        "apps.enable": True,
        "openai.api_base_urls": [url + "/v1"],
        "tool_server.connections": [{"url": url + "/tools", "path": "openapi.json", "auth_type": "none", "key": "", "config": {"enable": True}, "info": {"id": "due"}}],
        "terminal_server.connections": [{"id": "due", "url": url + "/terminals", "name": "Due", "enabled": True, "auth_type": "none", "key": "", "config": {}}],
    }
    with db:
        for key, value in settings.items():
            db.execute("INSERT INTO config (key, value, updated_at) VALUES (?, ?, 1) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, json.dumps(value)))
        # Due since 1970; it has no parent chat, so that it comes to an end without a model.
        db.execute("INSERT INTO chat (id, user_id, title, chat, created_at, updated_at, archived, pinned, meta, timer_at) VALUES ('due', ?, 'Due', '{}', 1, 1, 0, 0, ?, 1)",
                   (admin, json.dumps({"type": "timer", "status": "pending", "timer_at": 1, "parent_chat_id": "none"})))
        db.execute("UPDATE automation SET is_active = 1, next_run_at = 1")
        db.execute("UPDATE calendar_event SET user_id = ?, is_cancelled = 0, start_at = ?, meta = ?", (admin, now + 50 * 60 * 10**9, json.dumps({"alert_minutes": 60})))
        (text,) = db.execute("SELECT settings FROM user WHERE id = ?", (admin,)).fetchone()
        user = json.loads(text)
        user.setdefault("ui", {})["notifications"] = {"webhook_url": url + "/user"}
        db.execute("UPDATE user SET settings = ? WHERE id = ?", (json.dumps(user), admin))
        db.execute("INSERT INTO app (id, slug, name, user_id, is_active, data, created_at, updated_at) VALUES ('due', 'due', 'Due', ?, 1, ?, 1, 1)",
                   (admin, json.dumps({"url": url + "/app", "connection_token": "token"})))
        db.execute("INSERT INTO function (id, user_id, name, type, content, meta, is_active, is_global, created_at, updated_at) VALUES ('due', ?, 'Due', 'event', ?, '{}', 1, 1, 1, 1)",
                   (admin, EVENT % url))
    db.close()


class Listener(http.server.BaseHTTPRequestHandler):
    def answer(self):
        with open(self.server.file, "a") as out:
            out.write(f"{self.command} {self.path}\n")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b'{"object": "list", "data": [], "openapi": "3.1.0", "info": {"title": "Due", "version": "1"}, "paths": {}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def log_message(self, *_):
        pass


def listen(port, file):
    pathlib.Path(file).touch()
    with http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Listener) as server:
        server.file = file
        server.serve_forever()


def acted(data_dir, file, log):
    source, until = catalogue.Source(data_dir), time.monotonic() + 180
    # Of the automation's runs those count that were not there when it was made due, some 50 minutes before its event.
    began = source.rows("SELECT start_at FROM calendar_event")[0][0] - 50 * 60 * 10**9
    while True:
        lines = pathlib.Path(file).read_text().splitlines()
        done = {what: sum(line.startswith(request) for line in lines) for request, what in REACHED.items()}
        done |= {what: source.rows(query.replace("{began}", str(began)))[0][0] for what, query in WRITTEN.items()}
        done["app"] = pathlib.Path(log).read_text().count(APP)
        missing = [what for what, times in done.items() if not times]
        if not missing:
            print("acted: " + ", ".join(f"{what} {times}" for what, times in done.items()))
            return
        if time.monotonic() > until:
            raise SystemExit("did not act in 180 s: " + ", ".join(missing) + "\n" + "\n".join(lines))
        time.sleep(0.5)


def look(url, data_dir):
    source = catalogue.Source(data_dir)
    server = compare.Server(url, data_dir)
    chats = files = 0
    users = source.users()
    for user, email, _ in users:
        server.sign_in(email, "Passw0rd!")
        for chat, title in source.rows("SELECT id, title FROM chat WHERE user_id = ? ORDER BY id", user):
            status, _, body = server.ask(email, f"/api/v1/chats/{chat}")
            if status != 200 or json.loads(body)["title"] != title:
                raise SystemExit(f"chat {chat} as {email}: {status} {body[:200]!r}")
            chats += 1
        for file, path in source.rows("SELECT id, path FROM file WHERE user_id = ? AND path IS NOT NULL ORDER BY id", user):
            there = source.dir / "uploads" / path.rsplit("/", 1)[-1]
            if not there.is_file():
                continue
            status, _, body = server.ask(email, f"/api/v1/files/{file}/content")
            if status != 200 or body != there.read_bytes():
                raise SystemExit(f"file {file} as {email}: {status}, {len(body)} bytes")
            files += 1
    if not (users and chats and files):
        raise SystemExit(f"nothing to look at: {len(users)} users, {chats} chats, {files} files")
    print(f"{len(users)} users signed in, {chats} chats and {files} files are as in the source")


if __name__ == "__main__":
    steps = {f.__name__: f for f in (act, listen, acted, look)}
    if len(sys.argv) < 2 or sys.argv[1] not in steps:
        sys.exit(__doc__)
    steps[sys.argv[1]](*sys.argv[2:])
