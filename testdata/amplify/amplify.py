#!/usr/bin/env python3
"""Grows a webui.db to a given size, for benchmarks and for tests that need time to be interrupted.

usage: amplify.py SRC DST --bytes N [--seed N]

DST is a copy of SRC (its -wal included) to which clones of SRC's own people, files and conversations are added until it
is about N bytes large: a user with its auth row for every 400 chats, a file row for every 100, and chats each with all
its messages and tags. Clones have new ids and refer to each other as their models do; widths of rows, JSON and index
shapes are those of SRC. Files have no bytes on the disk. The same arguments give the same database. Numbers may carry
a unit: 300MB is 300,000,000.
"""
import argparse
import json
import pathlib
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import time
import uuid

CHATS_A_USER, CHATS_A_FILE, CHATS_A_COMMIT = 400, 100, 500
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def size(text):
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]B)?", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 1000000, 300MB or 1GB")
    return int(float(found[1]) * UNITS[(found[2] or "").upper()])


class Table:
    """The rows of one table as lists, and the statement that inserts one."""

    def __init__(self, db, name):
        self.columns = [row[1] for row in db.execute(f'PRAGMA table_info("{name}")')]
        if not self.columns:
            sys.exit(f"amplify.py: the source has no table {name}")
        self.at = {column: i for i, column in enumerate(self.columns)}
        self.rows = [list(row) for row in db.execute(f'SELECT * FROM "{name}" ORDER BY rowid')]
        self.insert = f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(self.columns))})'

    def get(self, row, column):
        return row[self.at[column]] if column in self.at else None

    def clone(self, row, **changes):
        new = list(row)
        for column, value in changes.items():
            if column in self.at:
                new[self.at[column]] = value
        return new


def renamed(row, old, new):
    """Puts a new id wherever the old one stands in a text."""
    return [value.replace(old, new) if isinstance(value, str) and old in value else value for value in row]


class Grower:
    def __init__(self, db, seed):
        self.db, self.random = db, random.Random(seed)
        self.user, self.auth, self.file = Table(db, "user"), Table(db, "auth"), Table(db, "file")
        self.chat, self.message, self.tag = Table(db, "chat"), Table(db, "chat_message"), Table(db, "tag")
        self.auths = {self.auth.get(row, "id"): row for row in self.auth.rows}
        self.people = [row for row in self.user.rows if self.user.get(row, "id") in self.auths]
        if not self.people or not self.chat.rows:
            sys.exit("amplify.py: the source needs a user and a chat to clone")
        self.owners = [self.user.get(row, "id") for row in self.people]
        self.messages = {}
        for row in self.message.rows:
            self.messages.setdefault(self.message.get(row, "chat_id"), []).append(row)
        self.tags = {(self.tag.get(row, "id"), self.tag.get(row, "user_id")) for row in self.tag.rows}
        self.made = 0

    def identifier(self):
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def add_user(self):
        row = self.random.choice(self.people)
        old, new = self.user.get(row, "id"), self.identifier()
        email = f"clone{self.made}@example.net"
        self.db.execute(self.user.insert, self.user.clone(renamed(row, old, new), email=email, username=None, role="user"))
        self.db.execute(self.auth.insert, self.auth.clone(renamed(self.auths[old], old, new), email=email))
        self.owners.append(new)

    def add_file(self):
        if self.file.rows:
            row = self.random.choice(self.file.rows)
            old, new = self.file.get(row, "id"), self.identifier()
            self.db.execute(self.file.insert, self.file.clone(renamed(row, old, new), user_id=self.random.choice(self.owners)))

    def add_chat(self):
        row = self.random.choice(self.chat.rows)
        old, new, owner = self.chat.get(row, "id"), self.identifier(), self.random.choice(self.owners)
        seconds = 1_700_000_000 + self.made * 30
        self.db.execute(self.chat.insert, self.chat.clone(
            row, id=new, user_id=owner, share_id=None, folder_id=None, created_at=seconds, updated_at=seconds + 20,
            title=f"{self.chat.get(row, 'title')} {self.made}"))
        self.db.executemany(self.message.insert, (
            self.message.clone(renamed(message, old, new), user_id=owner) for message in self.messages.get(old, ())))
        meta = self.chat.get(row, "meta")
        for tag in (json.loads(meta) or {}).get("tags") or () if meta else ():
            if (tag, owner) not in self.tags:
                self.tags.add((tag, owner))
                self.db.execute(self.tag.insert, self.tag.clone([None] * len(self.tag.columns), id=tag, name=tag, user_id=owner))
        self.made += 1

    def grow(self, target):
        (page,) = self.db.execute("PRAGMA page_size").fetchone()
        while self.db.execute("PRAGMA page_count").fetchone()[0] * page < target:
            self.db.execute("BEGIN")
            for i in range(CHATS_A_COMMIT):
                if i % CHATS_A_USER == 0:
                    self.add_user()
                if i % CHATS_A_FILE == 0:
                    self.add_file()
                self.add_chat()
                # A chat with its messages is small beside the target, unless the target is small too.
                if i % 20 == 19 and self.db.execute("PRAGMA page_count").fetchone()[0] * page >= target:
                    break
            self.db.execute("COMMIT")


def copy(source, target):
    """Copies the database, through a private copy, because reading a -wal may change the files beside it."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        for end in ("", "-wal"):
            if (file := pathlib.Path(f"{source}{end}")).exists():
                shutil.copyfile(file, f"{folder}/webui.db{end}")
        old, new = sqlite3.connect(f"{folder}/webui.db"), sqlite3.connect(target)
        old.backup(new)
        old.close()
        return new


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path, metavar="SRC", help="a webui.db; only read")
    parser.add_argument("target", type=pathlib.Path, metavar="DST", help="the database to make; must not exist")
    parser.add_argument("--bytes", type=size, required=True, metavar="N", help="size of DST")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if not args.source.is_file():
        sys.exit(f"amplify.py: {args.source} is no file")
    if args.target.exists():
        sys.exit(f"amplify.py: {args.target} exists already")
    began = time.monotonic()
    db = copy(args.source, args.target)
    db.isolation_level = None
    # Nobody needs half a benchmark's database: no journal, no waiting for the disk.
    for setting in ("journal_mode = off", "synchronous = off", "cache_size = -400000", "locking_mode = exclusive"):
        db.execute("PRAGMA " + setting).fetchall()
    grower = Grower(db, args.seed)
    grower.grow(args.bytes)
    db.execute("PRAGMA locking_mode = normal").fetchall()
    db.execute("PRAGMA journal_mode = wal").fetchall()
    db.close()
    for end in ("-wal", "-shm"):
        pathlib.Path(f"{args.target}{end}").unlink(missing_ok=True)
    print(f"{args.target}: {args.target.stat().st_size / 1e6:.0f} MB, {grower.made} chats added, {time.monotonic() - began:.0f} s")


main()
