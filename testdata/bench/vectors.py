"""The lane of vectors: from embedded Chroma to pgvector and to Qdrant, and from pgvector to Qdrant.

In the same run, for the ratios: Open WebUI's own client inserting a part of the same records into the same server, and
github.com/qdrant/migration from pgvector to Qdrant where QDRANT_MIGRATION names its program (the module proxy may not
have it). outgrow's time is the whole command, with indexes built and awaited. The others' is the inserting alone for
pgvector (Open WebUI makes the vector index at its next start); for Qdrant it is until the server has built its indexes.
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import time
import urllib.request

from server import REPO, Failed, measure

TIMES, PEAK, PART = 5, 256e6, 10_000
CACHE = pathlib.Path(os.environ.get("OUTGROW_CACHE", pathlib.Path.home() / ".cache/outgrow"))
QDRANT = REPO / "testdata/servers/qdrant.sh"


class Vectors:
    def __init__(self, bench, server, store, pairs):
        """store is the folder with an embedded Chroma store of pairs' many records."""
        self.bench, self.table, self.server, self.pairs = bench, bench.table, server, pairs
        self.work = bench.work / "vectors"
        self.source = self.work / "source"
        self.source.mkdir(parents=True)
        shutil.copy(bench.work / "small/webui.db", self.source)
        (self.source / "vector_db").symlink_to(store)
        self.store, self.prefixes = store, 0
        self.python, self.clients = CACHE / "owui-0.12.4/bin/python", CACHE / "owui-clients-0.12.4"

    def run(self):
        folder = self.work / "qdrant"
        done = subprocess.run([QDRANT, "start", folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.qdrant = done.stdout.split() if done.returncode == 0 else None
        try:
            dsn = self.to_pgvector()
            if self.qdrant:
                self.to_qdrant("embedded Chroma", {"DATA_DIR": self.source, "VECTOR_DB": "chroma"}, None)
                self.to_qdrant("pgvector", {"DATA_DIR": self.source, **self.pgvector(dsn)}, dsn)
            else:
                print("no Qdrant: its measurements are left out", flush=True)
        finally:
            subprocess.run([QDRANT, "stop", folder], stdin=subprocess.DEVNULL)

    def pgvector(self, dsn):
        return {"VECTOR_DB": "pgvector", "PGVECTOR_DB_URL": dsn.replace("postgres://", "postgresql://", 1), "PGVECTOR_CREATE_EXTENSION": "false",
                "PGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH": "768"}

    def new_qdrant(self):
        self.prefixes += 1
        uri, port = self.qdrant[:2]
        return {"VECTOR_DB": "qdrant", "QDRANT_URI": uri, "QDRANT_GRPC_PORT": port, "QDRANT_TIMEOUT": "600", "QDRANT_COLLECTION_PREFIX": f"bench{self.prefixes}"}

    def new_database(self):
        database = self.bench.fresh(self.server)
        self.server.sql(database, "CREATE EXTENSION vector")
        return self.server.address(database)

    def migrate(self, name, source, target):
        """The whole command; gives what it used and how many records it wrote."""
        folder = self.work / name
        folder.mkdir()
        for side, variables in (("a.env", source), ("b.env", {"DATA_DIR": folder, **target})):
            (folder / side).write_text("".join(f"{k}='{v}'\n" for k, v in variables.items()))
        command = [self.bench.program, "migrate", "--only", "vectors", "--stopped", "--accept", "drift", "--from", folder / "a.env", "--to", folder / "b.env", *self.bench.args.flags]
        used = measure(command, env=self.environment({}))
        report = json.loads((folder / "b.outgrow/report.json").read_text())
        used.records = sum(u["written"] for u in report["migrate"]["units"])
        if not report["migrate"]["complete"] or not used.records:
            raise Failed(f"{name}: {report['migrate']}")
        return used

    def environment(self, more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OUTGROW_FROM", "OUTGROW_TO", "QDRANT_", "PGVECTOR_", "CHROMA_")) and k not in ("DATABASE_URL", "DATA_DIR", "VECTOR_DB")}
        return {**kept, **{k: str(v) for k, v in more.items()}}

    def to_pgvector(self):
        ours, theirs = [], []
        for i in range(self.pairs):
            dsn = self.new_database()
            ours.append(self.migrate(f"chroma-pgvector-{i}", {"DATA_DIR": self.source, "VECTOR_DB": "chroma"}, self.pgvector(dsn)))
            theirs.append(self.open_webui(self.pgvector(self.new_database())))
        self.told("vectors, embedded Chroma to pgvector", ours, theirs)
        return dsn

    def to_qdrant(self, name, source, dsn):
        ours, theirs, peers = [], [], []
        for i in range(self.pairs):
            ours.append(self.migrate(f"{name.split()[-1]}-qdrant-{i}", source, self.new_qdrant()))
            theirs.append(self.open_webui(self.new_qdrant()))
            if dsn and os.environ.get("QDRANT_MIGRATION"):
                peers.append(self.peer(dsn, ours[-1].records))
        what = f"vectors, {name} to Qdrant"
        rate = self.told(what, ours, theirs)
        if peers:
            peer = statistics.median(peers)
            self.table.line(f"{what}: qdrant/migration", f"{peer:,.0f} records/s")
            self.table.line(f"{what}: outgrow against it", f"{rate / peer:.2f} times", "at least 1", rate >= peer)
        elif dsn:
            print("qdrant/migration is left out: QDRANT_MIGRATION does not name it", flush=True)

    def told(self, what, ours, theirs):
        rate = statistics.median(u.records / u.seconds for u in ours)
        peak = max(u.peak for u in ours)
        self.table.line(f"{what}: outgrow", f"{rate:,.0f} records/s (cpu {statistics.median(u.cpu for u in ours):.1f} s)")
        self.table.line(f"{what}: peak of {ours[0].records:,}", f"{peak / 1e6:.0f} MB", f"under {PEAK / 1e6:.0f} MB", peak < PEAK)
        if None not in theirs:
            client = statistics.median(theirs)
            self.table.line(f"{what}: Open WebUI's client", f"{client:,.0f} records/s of {PART:,}")
            self.table.line(f"{what}: outgrow against it", f"{rate / client:.1f} times", f"at least {TIMES}", rate >= TIMES * client)
        return rate

    def open_webui(self, target):
        """Records a second of Open WebUI's own client, None where it is not installed."""
        if not self.python.exists() or (target["VECTOR_DB"] == "qdrant" and not self.clients.exists()):
            print("Open WebUI's client is left out: make matrix installs it", flush=True)
            return None
        data = self.work / "owui"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        env = self.environment({**target, "DATA_DIR": data, "OWUI_VEC_OVERLAY": self.clients, "DATABASE_URL": f"sqlite:///{data}/webui.db"})
        done = subprocess.run([self.python, REPO / "testdata/bench/owui_insert.py", self.store, str(PART)], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"Open WebUI's client: {done.stderr[-1500:]}")
        took = json.loads(done.stdout)
        return took["records"] / (took["seconds"] + (self.settle() if target["VECTOR_DB"] == "qdrant" else 0))

    def settle(self):
        """Waits until Qdrant has nothing left to build, and gives how long that was."""
        began = time.monotonic()

        def ask(path):
            with urllib.request.urlopen(f"{self.qdrant[0]}/collections{path}") as answer:
                return json.load(answer)["result"]

        while any(ask("/" + c["name"])["status"] != "green" for c in ask("")["collections"]):
            time.sleep(0.1)
        return time.monotonic() - began

    def peer(self, dsn, records):
        self.prefixes += 1
        command = [os.environ["QDRANT_MIGRATION"], "pg", "--pg.url", dsn, "--pg.table", "document_chunk", "--pg.key-column", "id",
                   "--qdrant.url", f"http://127.0.0.1:{self.qdrant[1]}", "--qdrant.collection", f"peer{self.prefixes}", "--migration.batch-size", "500"]
        seconds = measure(command).seconds
        return records / (seconds + self.settle())
