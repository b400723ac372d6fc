#!/usr/bin/env python3
"""Moves one deployment's files between all storage providers and has Open WebUI's own provider class read every one.

Open WebUI's provider class (owui_storage.py) puts 28 files with odd names, --files of 20 KiB, one --large and the files of a
small real data folder into each provider; webui.db names them by what it returned. outgrow moves rows and files (`migrate`,
then `verify`) to every other provider and a fresh PostgreSQL database. Then the provider class, with an empty DATA_DIR,
reads each file by its new file.path: SHA-256 must be that of what was put, and the path and the list of objects those that
Open WebUI itself would have made.

  --files N         of 20 KiB (2000)
  --large SIZE      of the large one, as 64MiB (1GiB); 0 for none
  --only A:B,...    only these pairs; A: is all pairs from A, :B all pairs to B
  --jobs N          pairs at the same time (1: otherwise times say nothing)
  --need            a server that cannot be started is a failure
  --keep            leave logs and env files, and say where

Run by run.sh, in the Python of Open WebUI. Needs OUTGROW (the program) and OWUI_TOOLS.
"""
import argparse
import concurrent.futures
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import corpus
import rules
import stores

OUTGROW = os.environ["OUTGROW"]
PREFIXES = ("OUTGROW_FROM_", "OUTGROW_TO_", "S3_", "GCS_", "AZURE_", "AWS_", "GOOGLE_", "STORAGE_", "PGVECTOR_", "CHROMA_")
UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


class Failed(Exception):
    pass


def clean_environment():
    return {k: v for k, v in os.environ.items() if not k.startswith(PREFIXES) and k not in ("DATA_DIR", "DATABASE_URL", "VECTOR_DB")}


def open_webui(variables, data, commands):
    """What Open WebUI's provider class answers to each command; data is a DATA_DIR of its own."""
    data.mkdir(parents=True, exist_ok=True)
    env = {**clean_environment(), **variables, "DATA_DIR": str(data), "DATABASE_URL": f"sqlite:///{data}/unused.db", "OFFLINE_MODE": "true",
           "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}
    tool = [sys.executable, pathlib.Path(os.environ["OWUI_TOOLS"]) / "owui_storage.py", "-"]
    lines = "".join(json.dumps([str(part) for part in c]) + "\n" for c in commands)
    done = subprocess.run(tool, env=env, input=lines.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    answers = [json.loads(line) for line in done.stdout.split(b"\n") if line.startswith(b"{")]
    if len(answers) != len(commands):
        raise Failed(f"Open WebUI's provider class answers {len(answers)} of {len(commands)} times: {done.stderr.decode(errors='replace')[-600:]}")
    return answers


class Proof:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.servers = stores.Servers(work)
        self.stores = stores.stores(self.servers)
        self.sources, self.absent, self.results = {}, {}, {}

    def prepare(self):
        self.corpus = corpus.Corpus(self.work / "corpus", self.args.files, self.args.large)
        c = self.corpus
        print(f"{len(c.files)} files, {c.bytes:,} bytes: {len(c.odd)} odd names, {len(c.small)} of 20 KiB, {len(c.large)} of {self.args.large:,}, {len(c.real)} real ones", flush=True)
        data = self.work / "selftest"
        (data / "uploads").mkdir(parents=True)
        few = c.real[:12]
        for f in few:
            shutil.copy(f.content, data / "uploads" / f.name)
        unseen = rules.selftest(few, data / "uploads", lambda rows: self.read({"STORAGE_PROVIDER": "local"}, self.work / "selftest.read", rows),
                                lambda n: f"{data}/uploads/{n}")
        if unseen:
            raise Failed("the comparison does not see, or sees too much: " + "; ".join(unseen))
        print("self check: every planted damage is found", flush=True)

    def source(self, store):
        """A deployment whose files Open WebUI's own class has put into the store."""
        began = time.monotonic()
        folder = self.work / f"{store.name}-source"
        data = folder / "data"
        data.mkdir(parents=True)
        place = store.place(f"{store.name}-source", data)
        # With another provider than local, uploads/ is Open WebUI's cache: outgrow must not need it.
        put = data if store.name == "local" else folder / "put"
        answers = open_webui(place.variables, put, [("put", f.content, f.name) for f in self.corpus.files])
        paths = {}
        for f, answer in zip(self.corpus.files, answers):
            if "error" in answer:
                raise Failed(f"Open WebUI cannot put {f.name!r} into {store.name}: {answer['error']}")
            paths[f.id] = answer["path"]
        if store.name != "local":
            shutil.rmtree(put)
        for name in ("cache",):
            shutil.copytree(self.corpus.folder / "real" / name, data / name)
        self.corpus.database(data / "webui.db", paths)
        self.env(folder / "a.env", {**place.variables, "DATA_DIR": data, "WEBUI_SECRET_KEY": "lab-secret"})
        print(f"put into {store.name} by Open WebUI in {time.monotonic() - began:.0f} s", flush=True)
        return folder / "a.env"

    def env(self, path, variables):
        path.write_text("".join(f"{k}='{v}'\n" for k, v in variables.items()))

    def database(self, name):
        dsn = self.servers.start("postgres", "postgres.sh")
        stores.sql(dsn, f"CREATE DATABASE {name}")
        url = re.sub(r"/postgres(\?|$)", rf"/{name}\1", dsn)
        stores.sql(url, "CREATE EXTENSION vector")
        return url

    def outgrow(self, folder, command, *more):
        args = [OUTGROW, command, "--only", "rows", "--only", "files", "--stopped", "--from", folder / "a.env", "--to", folder / "b.env", *more]
        with open(folder / f"{command}.log", "w") as log:
            began = time.monotonic()
            code = subprocess.run(args, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
        if code:
            raise Failed(f"outgrow {command} ends with {code}: {tail(log.name)}")
        return time.monotonic() - began

    def read(self, variables, data, rows):
        answers = open_webui(variables, data, [("get", path) for path in rows.values()])
        shutil.rmtree(data)
        return dict(zip(rows, answers))

    def pair(self, a, b):
        """One migration; gives the comparison and what it took."""
        folder = self.work / f"{a.name}--{b.name}"
        data = folder / "data"
        data.mkdir(parents=True)
        shutil.copy(self.sources[a.name], folder / "a.env")
        place, url = b.place(f"{a.name}-{b.name}", data), self.database(f"{a.name}_{b.name}")
        self.env(folder / "b.env", {**place.variables, "DATABASE_URL": url.replace("postgres://", "postgresql://", 1), "VECTOR_DB": "pgvector", "DATA_DIR": data,
                                    "WEBUI_SECRET_KEY": "lab-secret"})
        took = self.outgrow(folder, "migrate", "--accept", ",".join(self.accept(a)))
        verified = self.outgrow(folder, "verify")
        compared = rules.Comparison(self.corpus.files, a.name)
        rows = file_paths(url)
        compared.rows(rows, place.form)
        compared.contents(self.read(place.variables, folder / "read", rows))
        compared.objects(place.names(), place.normal)
        for key in place.leftovers():
            compared.problem("unfinished upload", key, key)
        if not self.args.keep:
            shutil.rmtree(data)
        return compared, took, verified

    def accept(self, a):
        """What the facts say about the source is agreed to; the small data folder has rows without their parent."""
        return ["orphan"]

    def show(self, a, b):
        began = time.monotonic()
        try:
            compared, took, verified = self.pair(a, b)
            problems = [f"{kind}: {text}" for kind, _, text in compared.problems]
            notes = "".join(f", {n} {what}" for what, n in compared.notes.items())
            text = (f"{compared.same:>6} {compared.bytes:>14,} {took:7.1f} {compared.same / took:8.0f} {compared.bytes / 1e6 / took:7.1f} {verified:7.1f}"
                    f"   {'equal' if not problems else f'{len(problems)} DIFFERENCES'}{notes}")
        except (Failed, OSError) as e:
            problems, text = [str(e)], f"FAILED after {time.monotonic() - began:.0f} s"
        self.results[a.name, b.name] = not problems
        more = [f"       and {len(problems) - 8} more"] if len(problems) > 8 else []
        print("\n".join([f"{a.name:<6} -> {b.name:<6} {text}", *(f"       {p}" for p in problems[:8]), *more]), flush=True)

    def pairs(self, names):
        if not self.args.only:
            return list(itertools.permutations(names, 2))
        wanted = [tuple(p.split(":")) for p in self.args.only.split(",")]
        return [(a, b) for a, b in itertools.product(names, repeat=2) if (a, b) in wanted or (a != b and any(a == (x or a) and b == (y or b) for x, y in wanted))]

    def run(self):
        began = time.monotonic()
        self.prepare()
        used = {n for pair in self.pairs(list(self.stores)) for n in pair}
        names = []
        for name in (n for n in self.stores if n in used):
            try:
                self.stores[name].start()
                names.append(name)
            except stores.Unavailable as e:
                self.absent[name] = str(e)
        pairs = self.pairs(names)
        for name in dict.fromkeys(a for a, _ in pairs):
            self.sources[name] = self.source(self.stores[name])
        print(f"\n{'from':<6} -> {'to':<6} {'files':>6} {'bytes':>14} {'s':>7} {'files/s':>8} {'MB/s':>7} {'verify':>7}   read by Open WebUI", flush=True)
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            list(pool.map(lambda p: self.show(self.stores[p[0]], self.stores[p[1]]), pairs))
        bad = [p for p, ok in self.results.items() if not ok]
        print(f"\n{len(pairs)} pairs, {len(bad)} failed, {time.monotonic() - began:.0f} s")
        for name, why in self.absent.items():
            print(f"left out: {name}: {why}")
        return 1 if bad or not pairs or (self.args.need and self.absent) else 0


def file_paths(url):
    import psycopg2

    connection = psycopg2.connect(url)
    cursor = connection.cursor()
    cursor.execute("SELECT id, path FROM file WHERE path IS NOT NULL AND path <> '' ORDER BY id")
    rows = dict(cursor.fetchall())
    connection.close()
    return rows


def tail(path):
    return " | ".join(pathlib.Path(path).read_text(errors="replace").strip().splitlines()[-8:])[-900:]


def size(text):
    number, unit = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text).groups()
    return int(number) * UNITS[unit.upper()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--large", type=size, default=1 << 30)
    parser.add_argument("--only", help="pairs A:B, with commas")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--need", action="store_true", help="fail when a server cannot be started")
    parser.add_argument("--keep", action="store_true", help="leave everything in its folder")
    args = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="outgrow-storage."))
    work.chmod(0o755)
    proof = Proof(args, work)
    try:
        code = proof.run()
    except (Failed, stores.Unavailable) as e:
        code = print(f"storage: {e}", file=sys.stderr) or 1
    finally:
        proof.servers.stop()
        if args.keep:
            print(f"everything is in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
