#!/usr/bin/env python3
"""Measures outgrow on this machine: everything is made, run and removed here, side by side in one run.

  rows     `migrate --only rows`, indexes and foreign keys included, against psql's \\copy over one connection: into the same
           tables, of the same rows from prepared text files, with the same indexes and foreign keys built afterwards by
           one script. Both have primary keys and unique indexes from the start; with --keys-last \\copy's are built last too.
           Pairs are interleaved; files are in the page cache; PostgreSQL has its default settings, fsync on. Where the server
           has lz4 outgrow uses it for large values, psql does not by itself: what it takes when told to is a line of its own.
  memory   largest resident memory of `migrate --only rows` by size of the source
  others   `plan` and `verify` of the largest database
  sync     `sync --only rows` of the largest database, with nothing new and with 1 % changed: see passes.py
  chroma   the Chroma reader on a store of 50 collections (needs chromadb; a Python that has it can be named in CHROMA_PYTHON)
  vectors  `migrate --only vectors` of that store to pgvector and to Qdrant, and from pgvector to Qdrant: see vectors.py
  storage  `migrate --only files` of small files and of a large one to S3, Google Cloud Storage and Azure Blob: see storage.py

Without --check nothing but a failure to run is an error; with it a missed limit is.
"""
import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile

from passes import Passes
from server import REPO, Failed, Server, measure
from storage import KINDS, Storage
from vectors import Vectors

RATIO, PEAK, SLOPE = 0.7, 128e6, 1.25
RECORDS_A_SECOND, CHROMA_PEAK = 40_000, 200e6
CHROMADB = "chromadb==1.5.9"
OUTGROW = os.environ.get("OUTGROW", str(REPO / "bin/outgrow"))


class Table:
    """What was measured, beside its limit."""

    def __init__(self):
        self.missed = []

    def line(self, what, measured, limit="", good=True):
        mark = "" if not limit else "ok" if good else "MISSED"
        print(f"{what:<46} {measured:>34}  {limit:<18} {mark}".rstrip(), flush=True)
        if not good:
            self.missed.append(what)


class Bench:
    def __init__(self, args, work):
        self.args, self.work, self.table, self.program = args, work, Table(), OUTGROW
        self.names = 0
        self.sources = {}
        with tarfile.open(REPO / "testdata/datadir.tar.gz") as archive:
            archive.extractall(work / "small", filter="data")

    def source(self, size):
        """A DATA_DIR with a database of that size, in the page cache."""
        folder = self.work / size
        if size not in self.sources:
            folder.mkdir()
            measure([sys.executable, REPO / "testdata/amplify/amplify.py", self.work / "small/webui.db", folder / "webui.db", "--bytes", size])
            self.sources[size] = folder
        warm([folder / "webui.db"])
        return folder

    def outgrow(self, command, server, database, source, accept=(0,), more=()):
        env = self.work / f"{database}.env"
        env.write_text(f"DATABASE_URL={server.address(database)}\nDATA_DIR={self.work}\n")
        # The small data folder has rows without a parent, as real ones do; the clones' uploads do not exist.
        extra = ["--accept", "orphan,drift"] if command != "verify" else []
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OUTGROW_") and k not in ("DATABASE_URL", "DATA_DIR")}
        return measure([OUTGROW, command, "--only", "rows", "--from", source, "--to", env, *extra, *more, *self.args.flags], env=clean, accept=accept)

    def fresh(self, server):
        self.names += 1
        database = f"bench{self.names}"
        server.create(database)
        return database

    def migrate(self, server, size):
        database, source = self.fresh(server), self.source(size)
        return database, self.outgrow("migrate", server, database, source)

    def rows(self, server, size):
        database, _ = self.migrate(server, size)  # makes what \copy reads, and warms up
        copy = Copy(self.work / f"text{server.version}", server, database, self.args.keys_last)
        server.drop(database)
        ours, theirs, alike = [], [], []
        lz4 = "lz4" in server.sql("postgres", "SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")
        for i in range(self.args.pairs):
            for first in (i % 2 == 0, i % 2 == 1):
                if first:
                    database, used = self.migrate(server, size)
                    ours.append(used)
                else:
                    database = self.fresh(server)
                    theirs.append(copy.run(database))
                server.drop(database)
            if lz4:  # outgrow asks for it; psql does not
                database = self.fresh(server)
                alike.append(copy.run(database, "-c default_toast_compression=lz4"))
                server.drop(database)
        shutil.rmtree(copy.folder)
        ratios = [a.seconds / b.seconds for a, b in zip(ours, theirs)]
        name = f"rows {size}, PostgreSQL {server.version}"
        self.table.line(f"{name}: outgrow", f"{middle(u.seconds for u in ours):.1f} s (cpu {middle(u.cpu for u in ours):.1f} s)")
        self.table.line(f"{name}: psql \\copy, then indexes", f"{middle(u.seconds for u in theirs):.1f} s")
        if alike:
            seconds = middle(u.seconds for u in alike)
            self.table.line(f"{name}: psql told to use lz4", f"{seconds:.1f} s, ratio {middle(u.seconds for u in ours) / seconds:.2f}")
        ratio = statistics.median(ratios)
        self.table.line(f"{name}: ratio", f"{ratio:.2f} of {', '.join(f'{r:.2f}' for r in ratios)}", f"at most {RATIO}", ratio <= RATIO)

    def memory(self, server, sizes):
        peaks = []
        for size in sizes:
            runs = []
            for _ in range(self.args.pairs):
                database, used = self.migrate(server, size)
                server.drop(database)
                runs.append(used.peak)
            peaks.append(max(runs))
            self.table.line(f"peak memory of migrate, {size}", mega(peaks[-1]), f"under {mega(PEAK)}", peaks[-1] < PEAK)
        if len(peaks) > 1:
            # The smallest is over before the garbage collector has shown its whole range.
            slope = peaks[-1] / peaks[-2]
            self.table.line(f"peak memory, {sizes[-1]} against {sizes[-2]}", f"{slope:.2f}", f"at most {SLOPE}", slope <= SLOPE)

    def others(self, server, size):
        database, copied = self.migrate(server, size)
        bytes_ = (self.work / size / "webui.db").stat().st_size
        for command in ("plan", "verify"):
            target = self.fresh(server) if command == "plan" else database
            used = self.outgrow(command, server, target, self.source(size))
            self.table.line(f"{command} {size}", f"{used.seconds:.1f} s, {bytes_ / 1e6 / used.seconds:.0f} MB/s, {mega(used.peak)}",
                            f"under {mega(PEAK)}", used.peak < PEAK)
            self.table.line(f"{command} {size}, against migrate", f"{used.seconds / copied.seconds:.2f}")
            server.drop(target)

    def store(self):
        """An embedded Chroma store of 50 collections, made once, in the page cache."""
        store = pathlib.Path(self.args.store).resolve() if self.args.store else self.work / "chroma"
        if not store.exists():
            measure([chroma_python(), REPO / "testdata/chroma/make_store.py", store, "--records", self.args.records])
        warm(p for p in store.rglob("*") if p.is_file())
        return store

    def chroma(self):
        store = self.store()
        env = {**os.environ, "OUTGROW_CHROMA_STORE": str(store)}
        for workers in (1, 2):
            done = subprocess.run(["go", "test", "-count=1", "-run=^$", f"-bench=^BenchmarkRead$/stopped=true/workers={workers}$",
                                   "-benchtime=2x", f"-count={2 * self.args.pairs}", "./source/chroma"], cwd=REPO, env=env, capture_output=True, text=True)
            rates, peaks = ([float(n) for n in re.findall(rf"([\d.e+]+) {unit}", done.stdout)] for unit in ("records/s", "MB-peak"))
            if done.returncode or not rates or not peaks:
                raise Failed(f"the benchmark of source/chroma failed:\n{done.stdout}{done.stderr}")
            name, rate, peak = f"Chroma reader, {50 * self.args.records} x 768, {workers} worker{'s' * (workers > 1)}", middle(rates), max(peaks) * 2**20
            self.table.line(name, f"{rate:,.0f} records/s", f"at least {RECORDS_A_SECOND:,}", rate >= RECORDS_A_SECOND)
            self.table.line(f"{name}: peak", mega(peak), f"under {mega(CHROMA_PEAK)}", peak < CHROMA_PEAK)

class Copy:
    """The same rows as text files, and psql's way to load them."""

    # What refuses rows, which outgrow never loads without: primary keys, unique indexes, indexes on expressions.
    keys = re.compile(r"PRIMARY KEY|UNIQUE|USING btree \(\(")

    def __init__(self, folder, server, database, keys_last):
        self.folder, self.server = folder, server
        folder.mkdir()
        before, after = [server.schema(database, "pre-data")], []
        for statement in server.schema(database, "post-data").split(";\n"):
            early = not keys_last and self.keys.search(statement)
            (before if early else after).append(statement + ";\n")
        tables = server.tables(database)
        (folder / "out.sql").write_text("".join(f"\\copy public.\"{t}\" TO '{folder}/{t}.txt'\n" for t in tables))
        measure(server.psql(database, folder / "out.sql"))
        load = "".join(f"\\copy public.\"{t}\" FROM '{folder}/{t}.txt'\n" for t in tables)
        (folder / "in.sql").write_text("".join(before) + load + "".join(after))
        self.files = [folder / f"{t}.txt" for t in tables]

    def run(self, database, settings=""):
        warm(self.files)
        return measure(self.server.psql(database, self.folder / "in.sql"), env={**os.environ, "PGOPTIONS": settings})


def warm(files):
    for file in files:
        with open(file, "rb") as f:
            while f.read(1 << 20):
                pass


def middle(values):
    return statistics.median(values)


def mega(n):
    return f"{n / 1e6:.0f} MB"


def chroma_python():
    """A Python with chromadb: the one named, this one, or one made for it in the cache."""
    cache = pathlib.Path(os.environ.get("OUTGROW_CACHE", pathlib.Path.home() / ".cache/outgrow"))
    made = cache / "chromadb-1.5.9/bin/python"
    for python in (os.environ.get("CHROMA_PYTHON"), sys.executable, made):
        if python and shutil.which(python) and subprocess.run([python, "-c", "import chromadb, numpy"], capture_output=True).returncode == 0:
            return python
    measure([sys.executable, "-m", "venv", "--clear", made.parents[1]])
    measure([made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", CHROMADB])
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 when a limit is missed")
    parser.add_argument("--quick", action="store_true", help="one pair of 100MB, memory at 50MB and 100MB, 10,000 vectors, 200 small files, a large one of 64 MiB")
    parser.add_argument("--only", default="rows,memory,others,sync,chroma,vectors,storage", help="which measurements, with commas")
    parser.add_argument("--sizes", default="100MB,300MB,1GB", help="of the databases, ascending; rows and others take the last")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of rows, and runs a size of memory")
    parser.add_argument("--pg", default="16,15", help="PostgreSQL versions for rows (15, with lz4, where it is installed); the others use the first")
    parser.add_argument("--keys-last", action="store_true", help="\\copy into tables without any key or index; a harder yardstick")
    parser.add_argument("--records", type=int, default=2000, help="records of each of 50 Chroma collections")
    parser.add_argument("--store", default=None, help="an embedded Chroma store (vector_db) that is there already, instead of making one")
    parser.add_argument("--ways", default="chroma:pgvector,chroma:qdrant,pgvector:qdrant", help="of vectors, with commas")
    parser.add_argument("--stores", default=",".join(KINDS), help="of storage, with commas")
    parser.add_argument("--works", default="small,large", help="of storage, with commas")
    parser.add_argument("--tmp", default=None, help="where to make everything; about 8 times the largest size")
    parser.add_argument("flags", nargs="*", help="after --: more flags for outgrow, such as --writers=2")
    args = parser.parse_args()
    if args.quick:
        args.sizes, args.pairs, args.records = "50MB,100MB", 1, 200
    sizes, only = args.sizes.split(","), args.only.split(",")
    work = pathlib.Path(tempfile.mkdtemp(prefix="outgrow-bench.", dir=args.tmp))
    work.chmod(0o755)
    servers = []
    try:
        bench = Bench(args, work)
        if set(only) & {"rows", "memory", "others", "sync", "vectors"}:
            for version in args.pg.split(","):
                if version not in ("16", "18") and not pathlib.Path(f"/usr/lib/postgresql/{version}/bin/postgres").exists():
                    print(f"PostgreSQL {version} is not installed: left out", file=sys.stderr)
                    continue
                servers.append(Server(work / f"pg{version}", version))
                if "rows" in only:
                    bench.rows(servers[-1], sizes[-1])
            if "memory" in only:
                bench.memory(servers[0], sizes)
            if "others" in only:
                bench.others(servers[0], sizes[-1])
            if "sync" in only:
                Passes(bench, servers[0], sizes[-1], args.pairs).run()
        if "chroma" in only:
            bench.chroma()
        if "vectors" in only:
            Vectors(bench, servers[0], bench.store(), args.pairs).run()
        if "storage" in only:
            Storage(bench, args.pairs, *((200, 64 << 20) if args.quick else (2000, 1 << 30)), args.stores.split(","), args.works.split(",")).run()
    except Failed as problem:
        sys.exit(f"bench: {problem}")
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(work, ignore_errors=True)
    if args.check and bench.table.missed:
        sys.exit("missed: " + "; ".join(bench.table.missed))


main()
