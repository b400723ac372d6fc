#!/usr/bin/env python3
"""Moves one corpus between all vector stores and asks Open WebUI's own clients whether it is the same.

The corpus of owui_vec.py (500 records in 12 collections) is loaded into each store by Open WebUI's own client, moved by
outgrow (`migrate --only vectors`, then `verify`) to every other store and layout, and dumped there by Open WebUI's own
client. What may differ between the two dumps is written down in rules.py; 36 searches through Open WebUI's client must
give the same hits and scores on both sides.

  --ring            each layout to the next one, and embedded Chroma to each: what CI runs
  --only A:B,...    only these pairs; A: is all pairs from A, :B all pairs to B
  --need            a store that cannot be started is a failure
  --keep            leave dumps, logs and env files, and say where

Run by run.sh, in the Python of Open WebUI. Needs OUTGROW (the program), OWUI_TOOLS and OWUI_VEC_OVERLAY.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(os.environ["OWUI_VEC_OVERLAY"])  # for what creates databases

import layouts  # noqa: E402
import rules  # noqa: E402
import selftest  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
OUTGROW = os.environ["OUTGROW"]
SEARCHES, EVERY = 36, 14


class Failed(Exception):
    pass


def clean_environment():
    prefixes = ("OUTGROW_FROM_", "OUTGROW_TO_", "CHROMA_", "PGVECTOR_", "QDRANT_", "MILVUS_", "PINECONE_")
    return {k: v for k, v in os.environ.items() if not k.startswith(prefixes) and k not in ("DATA_DIR", "DATABASE_URL", "VECTOR_DB", "PYTHONDONTWRITEBYTECODE")}


class Client:
    """Open WebUI's client for one side of a layout, running."""

    def __init__(self, layout, role, data, log):
        env = {**clean_environment(), **layout.client_variables(role), "DATA_DIR": str(data), "OFFLINE_MODE": "true", "HF_HUB_OFFLINE": "1"}
        self.log = open(log, "ab")
        self.child = subprocess.Popen([sys.executable, HERE / "client.py"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.answer()

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            raise Failed(f"Open WebUI's client ended: {tail(self.log.name)}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"Open WebUI's client: {answer['error']}")
        return answer

    def ask(self, **do):
        print(json.dumps({k: str(v) if isinstance(v, pathlib.Path) else v for k, v in do.items()}), file=self.child.stdin, flush=True)
        return self.answer()

    def close(self):
        self.child.stdin.close()
        self.child.wait()
        self.log.close()


class Matrix:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.servers = layouts.Servers(work)
        self.layouts = layouts.layouts(self.servers)
        self.corpus, self.queries = work / "corpus.jsonl", work / "queries.jsonl"
        self.collections = set()
        self.absent, self.results, self.lock = {}, {}, threading.Lock()

    def data(self, layout, role):
        """DATA_DIR of one side; Open WebUI's tables are made only once."""
        folder, first = self.work / "data" / f"{layout.name}-{role}", self.work / "data" / "first"
        if not folder.exists():
            folder.mkdir(parents=True)
            if (first / "webui.db").exists():
                shutil.copy(first / "webui.db", folder)
        return folder

    def prepare(self):
        tool = [sys.executable, pathlib.Path(os.environ["OWUI_TOOLS"]) / "owui_vec.py"]
        subprocess.run([*tool, "gen", self.corpus], check=True, stderr=subprocess.DEVNULL)
        with open(self.corpus) as f, open(self.queries, "w") as out:
            for i, line in enumerate(f):
                row = json.loads(line)
                self.collections.add(row["collection"])
                if i % EVERY == 0:
                    print(json.dumps({"collection": row["collection"], "vector": row["vector"]}), file=out)
        first = self.work / "data" / "first"
        first.mkdir(parents=True)
        client = Client(self.layouts["chroma"], "source", first, self.work / "first.log")
        client.close()

    def available(self, layout):
        """Starts what the layout needs; one after the other, as several layouts may share a server."""
        try:
            layout.variables("source")
            return True
        except layouts.Unavailable as e:
            self.absent[layout.name] = str(e)
            return False

    def load(self, layout):
        """The source side: loaded, dumped and searched once."""
        log = self.work / f"{layout.name}-source.log"
        client = Client(layout, "source", self.data(layout, "source"), log)
        try:
            if client.ask(do="load", file=self.corpus, batch=200)["failed"]:
                raise Failed(f"Open WebUI's client does not take the corpus: {tail(log)}")
            rows = self.snapshot(client, self.work / f"{layout.name}.dump", self.work / f"{layout.name}.search")["rows"]
        finally:
            client.close()
        return rows

    def snapshot(self, client, dump, search):
        return client.ask(do="snapshot", corpus=self.corpus, dump=dump, queries=self.queries, search=search, rows=500)

    def env(self, path, layout, role):
        variables = {**layout.variables(role), "DATA_DIR": self.data(layout, role)}
        path.write_text("".join(f"{k}='{v}'\n" for k, v in variables.items()))
        return path

    def outgrow(self, folder, command, *more):
        args = [OUTGROW, command, "--only", "vectors", "--from", folder / "a.env", "--to", folder / "b.env", *more]
        with open(folder / f"{command}.log", "w") as log:
            code = subprocess.run(args, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
        if code:
            raise Failed(f"outgrow {command} ends with {code}: {tail(log.name)}")

    def pair(self, a, b, client):
        """One migration; client is that of the target, None before the first one, and is given back."""
        folder = self.work / f"{a.name}--{b.name}"
        folder.mkdir()
        self.env(folder / "a.env", a, "source"), self.env(folder / "b.env", b, "target")
        self.outgrow(folder, "migrate", "--stopped", "--replace")
        self.outgrow(folder, "verify", "--stopped")
        client = client or Client(b, "target", self.data(b, "target"), self.work / f"{b.name}-target.log")
        compared = rules.Pair(a, b)
        snapshot = self.snapshot(client, folder / "dump", folder / "search")
        compared.names(self.collections, snapshot["names"])
        same = compared.dumps(self.work / f"{a.name}.dump", folder / "dump")
        witness = compared.witness(self.diff(self.work / f"{a.name}.dump", folder / "dump"))
        self.parity(folder, compared)
        searches = compared.searches(self.work / f"{a.name}.search", folder / "search")
        if searches != SEARCHES and not compared.problems:
            compared.problem(f"{searches} searches, not {SEARCHES}")
        notes = ", ".join(f"{v} {k}" for k, v in compared.notes.items() if v)
        return client, compared.problems, f"{same} of {snapshot['rows']} records; {notes}; {witness}; {searches} of {SEARCHES} searches the same"

    def diff(self, a, b):
        """What the harness of the dumps itself finds between two of them."""
        done = subprocess.run([sys.executable, pathlib.Path(os.environ["OWUI_TOOLS"]) / "owui_vec.py", "diff", a, b], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode not in (0, 1) or not done.stdout:
            raise Failed(f"owui_vec.py diff: {done.stderr[-500:]}")
        return json.loads(done.stdout)

    def parity(self, folder, compared):
        """What outgrow's own searches on the target found, in collections as small as these, is exact."""
        search = json.loads((folder / "b.outgrow/report.json").read_text())["verify"].get("search") or {}
        if not search.get("searches") or search["recall"] != 1:
            compared.problem(f"verify's searches: {str({k: v for k, v in search.items() if k != 'units'})[:300]}")

    def target(self, b, sources):
        """All pairs into one layout, one after the other."""
        client = None
        for a in sources:
            began = time.monotonic()
            try:
                client, problems, text = self.pair(a, b, client)
            except (Failed, OSError) as e:
                problems, text = [str(e)], ""
            with self.lock:
                self.results[a.name, b.name] = not problems
                print(f"{'ok  ' if not problems else 'FAIL'} {a.name:<20} -> {b.name:<20} {time.monotonic() - began:5.1f} s  {text}", flush=True)
                for p in problems[:8]:
                    print(f"       {p}")
                if len(problems) > 8:
                    print(f"       and {len(problems) - 8} more")
        if client:
            client.close()

    def pairs(self, names):
        sinks = [n for n in names if self.layouts[n].sink]
        if self.args.ring:
            chosen = [(sinks[i - 1], n) for i, n in enumerate(sinks) if len(sinks) > 1] + [(n, s) for n in names if n not in sinks for s in sinks]
        else:
            chosen = [(a, b) for b in sinks for a in names if a != b]
        if self.args.only:
            wanted = [p.split(":") for p in self.args.only.split(",")]
            chosen = [(a, b) for a, b in chosen if any(a == (x or a) and b == (y or b) for x, y in wanted)]
        return chosen

    def run(self):
        began = time.monotonic()
        self.prepare()
        used = {n for pair in self.pairs(list(self.layouts)) for n in pair}
        names = [n for n in self.layouts if n in used and self.available(self.layouts[n])]
        pairs = self.pairs(names)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            loads = {n: pool.submit(self.load, self.layouts[n]) for n in names if any(a == n for a, _ in pairs)}
            for n, load in loads.items():
                try:
                    print(f"loaded {n}: {load.result()} records ({time.monotonic() - began:.0f} s)", flush=True)
                except (Failed, OSError) as e:
                    self.absent[n] = str(e)
                    print(f"FAIL   {n} as a source: {e}", flush=True)
                    self.results[n, n] = False
            pairs = [(a, b) for a, b in pairs if (a, a) not in self.results]
            self.rules_see()
            targets = [pool.submit(self.target, self.layouts[b], [self.layouts[a] for a, x in pairs if x == b]) for b in dict.fromkeys(b for _, b in pairs)]
            for t in targets:
                t.result()
        self.table(names, pairs)
        bad = [p for p, ok in self.results.items() if not ok]
        print(f"{len(pairs)} pairs, {len(bad)} failed, {time.monotonic() - began:.0f} s")
        for name, why in self.absent.items():
            print(f"left out: {name}: {why}")
        return 1 if bad or not pairs or (self.args.need and self.absent) else 0

    def rules_see(self):
        """The rules must see every damage between two stores of exact vectors, else the matrix is worth nothing."""
        exact = next((l for l in self.layouts.values() if l.family in ("pgvector", "milvus") and not l.half and (self.work / f"{l.name}.search").exists()), None)
        if exact:
            unseen = selftest.check(self.work / f"{exact.name}.dump", self.work / f"{exact.name}.search", lambda: rules.Pair(exact, exact), self.work)
            if unseen:
                raise Failed("the rules do not see: " + "; ".join(unseen))

    def table(self, names, pairs):
        sinks = [n for n in names if any(b == n for _, b in pairs)]
        print("\nfrom \\ to".ljust(21), *(f"{i + 1:>3}" for i in range(len(sinks))))
        for a in names:
            if any(x == a for x, _ in pairs):
                marks = [{True: "ok", False: "BAD", None: "."}[self.results.get((a, b)) if (a, b) in pairs else None] for b in sinks]
                print(a.ljust(20), *(f"{m:>3}" for m in marks))
        print("to: " + ", ".join(f"{i + 1} {n}" for i, n in enumerate(sinks)))


def tail(path):
    return " | ".join(pathlib.Path(path).read_text(errors="replace").strip().splitlines()[-8:])[-900:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ring", action="store_true", help="each layout to the next one, embedded Chroma to each")
    parser.add_argument("--only", help="pairs A:B, with commas")
    parser.add_argument("--need", action="store_true", help="fail when a store cannot be started")
    parser.add_argument("--keep", action="store_true", help="leave everything in its folder")
    args = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="outgrow-matrix."))
    work.chmod(0o755)
    matrix = Matrix(args, work)
    try:
        code = matrix.run()
    except Failed as e:
        code = print(f"matrix: {e}", file=sys.stderr) or 1
    finally:
        matrix.servers.stop()
        if args.keep:
            print(f"everything is in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    sys.stdout.flush()
    os._exit(code)  # some clients leave threads behind


main()
