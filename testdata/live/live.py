#!/usr/bin/env python3
"""outgrow beside a running Open WebUI that people write to.

For every seed: Open WebUI (SQLite, Chroma, local files) is started; four people write through its HTTP API; outgrow migrates to a
fresh PostgreSQL with pgvector and a fresh folder, in every other seed killed once and resumed; two syncs follow while they
write; then people and app stop, and sync --stopped and verify must find both sides equal, but for the rows that the app
itself left without a parent (it does not enforce foreign keys on SQLite). The seeds follow each other on
one data folder, which grows.

A seed fails when a command exits otherwise than it should, when the app answered with 5xx or logged a lock that it did not
get, or when outgrow held a lock that the app's writers wait for 2 s or longer. The app itself gives up on a lock of its
database after 2 s (5 s is its default), so that a longer wait is an answer with 5xx. Latencies with and without outgrow are
printed: on two cores they tell of the machine as much as of locks, so they do not judge.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "e2e"))
import locks
import prepare
import writer

# The phase in which outgrow does not run; else the name of its command.
ALONE = "alone"
LONGEST = 2.0
LOCKED = ("database is locked", "database table is locked", "SQLITE_BUSY", "code: 5)")
SYNC_NEEDED = 4


class Failed(Exception):
    pass


class Lab:
    """The folder, the servers and the one data folder that all seeds share."""

    def __init__(self, options):
        self.options, self.began, self.children, self.log = options, time.monotonic(), [], []
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="outgrow-live."))
        self.work.chmod(0o755)
        self.source, self.postgres = self.work / "source", HERE.parent / "servers" / "postgres.sh"
        self.embeddings_port, self.port = self.free_ports()

    def say(self, text):
        print(f"live {time.monotonic() - self.began:5.0f} s  {text}", flush=True)

    def free_ports(self):
        out = subprocess.run([sys.executable, HERE.parent / "e2e" / "prepare.py", "ports", "2"], check=True, capture_output=True, text=True)
        return map(int, out.stdout.split())

    def start(self):
        with tarfile.open(HERE.parent / "datadir.tar.gz") as packed:
            packed.extractall(self.source, filter="data")
        prepare.config(self.source, self.embeddings_port)
        prepare.rebase(self.source)
        db = self.source / "webui.db"
        subprocess.run([sys.executable, HERE.parent / "amplify" / "amplify.py", db, f"{db}.big", "--bytes", self.options.grow],
                       check=True, stdout=subprocess.DEVNULL)
        for suffix in ("-wal", "-shm"):
            pathlib.Path(f"{db}{suffix}").unlink(missing_ok=True)
        os.replace(f"{db}.big", db)
        self.spawn("embeddings", [sys.executable, HERE.parent / "e2e" / "embeddings.py", self.embeddings_port])
        self.super = subprocess.run([self.postgres, "start", self.work / "pg"], check=True, capture_output=True, text=True).stdout.strip()
        programs = subprocess.run([self.postgres, "install"], check=True, capture_output=True, text=True).stdout.strip()
        self.psql = pathlib.Path(programs) / "psql"
        self.sql(self.super, "CREATE ROLE app LOGIN PASSWORD 'e2e-password'")

    def spawn(self, name, command):
        with open(self.work / f"{name}.log", "ab") as log:
            child = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
        self.children.append(child)
        return child

    def sql(self, dsn, *statements):
        subprocess.run([self.psql, "-qX", "-v", "ON_ERROR_STOP=1", "-d", dsn] + [a for s in statements for a in ("-c", s)], check=True)

    def target(self, seed):
        """A fresh database and folder; the name of the env file that tells of them."""
        self.sql(self.super, f"CREATE DATABASE app_{seed} OWNER app TEMPLATE template0")
        self.sql(self.super.replace("/postgres?", f"/app_{seed}?"), "CREATE EXTENSION vector")
        dsn = self.super.replace("postgres@", "app:e2e-password@", 1).replace("/postgres?", f"/app_{seed}?")
        folder, file = self.work / f"target{seed}", self.work / f"seed{seed}.env"
        folder.mkdir()
        file.touch(0o600)
        file.write_text(f"DATABASE_URL={dsn}\nVECTOR_DB=pgvector\nDATA_DIR={folder}\nWEBUI_SECRET_KEY=lab-secret\n")
        return file

    def drop(self, seed, env_file):
        self.sql(self.super, f"DROP DATABASE app_{seed}")
        shutil.rmtree(self.work / f"target{seed}")
        shutil.rmtree(env_file.with_suffix(".outgrow"))

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.terminate()
        for child in self.children:
            child.wait()
        if (self.work / "pg").is_dir():
            subprocess.run([self.postgres, "stop", self.work / "pg"], check=False)
        if os.environ.get("KEEP") == "1":
            print(f"kept: {self.work}")
        else:
            shutil.rmtree(self.work)


class Seed:
    """One run of one seed."""

    def __init__(self, lab, seed):
        self.lab, self.seed, self.random = lab, seed, random.Random(seed)
        self.phase, self.stopped, self.people, self.held, self.looks, self.codes, self.orphans = [ALONE], threading.Event(), [], {}, 0, [], 0

    def outgrow(self, command, *wanted, flags=(), kill_after=None):
        """Runs one command; its exit code must be one of those wanted. Locks that it holds are watched; it is the writers' phase."""
        log = self.lab.work / f"seed{self.seed}.{command}.log"
        with open(log, "ab") as out:
            child = subprocess.Popen([self.lab.options.outgrow, command, "--from", self.lab.source, "--to", self.env_file, *flags], stdout=out, stderr=out)
        watch = locks.Locks(self.lab.source, child.pid)
        watch.start()
        self.phase[0] = command
        try:
            code = child.wait(kill_after)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        finally:
            self.phase[0] = ALONE
            for name, seconds in watch.stop().items():
                self.held[name] = max(self.held.get(name, 0), seconds)
            self.looks += watch.looks
        self.codes.append(f"{command} {code}")
        if code not in wanted:
            raise Failed(f"outgrow {command} exited {code}:\n{log.read_text(errors='replace')[-3000:]}")
        return code

    def run(self):
        lab = self.lab
        self.env_file = lab.target(self.seed)
        name = f"app{self.seed}"
        app = lab.spawn(name, [HERE.parent / "e2e" / "serve.sh", lab.work / name, lab.port, f"DATA_DIR={lab.source}",
                               f"DATABASE_SQLITE_PRAGMA_BUSY_TIMEOUT={LONGEST * 1000:.0f}"])
        url = f"http://127.0.0.1:{lab.port}"
        prepare.wait(url, app.pid)
        try:
            self.people = writer.people(url, lab.source, self.seed, self.phase, self.stopped)
            time.sleep(lab.options.writes)
            self.beside()
        finally:
            self.stopped.set()
            for person in self.people:
                person.join()
                lab.log += person.log
            app.send_signal(signal.SIGTERM)
            app.wait()
        self.outgrow("sync", 0, flags=["--stopped", "--accept", "orphan"])
        self.only_orphans()
        self.outgrow("verify", 0)
        self.judge((lab.work / f"{name}.log").read_text(errors="replace"))
        lab.drop(self.seed, self.env_file)

    def beside(self):
        """outgrow beside the writers."""
        killed = False
        if self.seed % 2 == 0:
            killed = self.outgrow("migrate", 0, SYNC_NEEDED, -signal.SIGKILL, kill_after=self.random.uniform(0.3, 3)) == -signal.SIGKILL
            time.sleep(self.random.uniform(0, 1))
        self.outgrow("migrate", *((SYNC_NEEDED,) if killed else (0, SYNC_NEEDED)))
        for _ in range(2):
            time.sleep(self.random.uniform(0, self.lab.options.writes / 2))
            self.outgrow("sync", 0, SYNC_NEEDED)

    def only_orphans(self):
        """Open WebUI on SQLite leaves rows of knowledge_file without their parents: exactly those may be in the quarantine."""
        db = sqlite3.connect(f"{(self.lab.source / 'webui.db').as_uri()}?mode=ro", uri=True)
        (self.orphans,) = db.execute("SELECT count(*) FROM knowledge_file WHERE file_id NOT IN (SELECT id FROM file)"
                                     " OR knowledge_id NOT IN (SELECT id FROM knowledge)").fetchone()
        db.close()
        report = json.loads((self.env_file.with_suffix(".outgrow") / "report.json").read_text())
        refused = {(q["unit"], q["reason"]): q["count"] for q in report["sync"].get("quarantine") or []}
        if refused != ({("rows/knowledge_file", "orphan"): self.orphans} if self.orphans else {}):
            raise Failed(f"{self.orphans} rows of knowledge_file have no parent, in the quarantine are {refused}")

    def judge(self, app_log):
        failures = [p.failure for p in self.people if p.failure]
        failures += [line for p in self.people for line in p.refused if line.split(": ", 1)[1][0] == "5"]
        failures += [line for line in app_log.splitlines() if any(text in line for text in LOCKED)]
        failures += [f"a lock on {name} was held for {s:.2f} s" for name, s in self.held.items() if s >= LONGEST]
        if failures:
            raise Failed("\n".join(failures[:10]))

    def report(self):
        lines = [", ".join(self.codes) + f"; {self.orphans} orphans the app left, in the quarantine"]
        lines += latencies(entry for person in self.people for entry in person.log)
        held = ", ".join(f"{name} {s * 1000:.0f} ms" for name, s in self.held.items()) or "none seen"
        lines.append(f"locks of outgrow that writers wait for: {held}, in {self.looks} looks")
        refused = [line for person in self.people for line in person.refused]
        if refused:
            lines.append(f"{len(refused)} requests refused, for example {refused[0]}")
        return "\n    ".join(lines)


def latencies(log):
    """A line for each phase that had requests."""
    log = sorted(log)
    for phase in (ALONE, "migrate", "sync"):
        times = [e for e in log if e[1] == phase]
        if times:
            middle, most, worst = times[len(times) // 2][0], times[len(times) * 99 // 100][0], times[-1]
            yield (f"{phase}: {len(times)} requests, median {middle * 1000:.0f} ms, 99 % within {most:.2f} s, "
                   f"longest {worst[0]:.2f} s ({worst[2]})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outgrow", required=True, metavar="PROGRAM")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--grow", default="60MB", help="size of the database at the start")
    parser.add_argument("--writes", type=float, default=6, metavar="SECONDS", help="how long people write before outgrow comes")
    lab = Lab(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = []
    try:
        lab.start()
        for number in range(lab.options.first, lab.options.first + lab.options.seeds):
            seed = Seed(lab, number)
            try:
                seed.run()
                lab.say(f"seed {number}: equal\n    {seed.report()}")
            except Failed as failure:
                failed.append(number)
                lab.say(f"seed {number}: FAILED\n    {seed.report()}\n{failure}")
    finally:
        lab.close()
    print("all seeds, by what outgrow did meanwhile", *latencies(lab.log), sep="\n    ")
    for phases in ((ALONE,), ("migrate", "sync")):
        counts = collections.Counter(e[2] for e in lab.log if e[1] in phases and e[3] < 300)
        print(f"{' and '.join(phases)}: " + ", ".join(f"{what} {n}" for what, n in sorted(counts.items())))
    print(f"{lab.options.seeds - len(failed)} of {lab.options.seeds} seeds equal" + (f", failed: {failed}" if failed else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
