"""The lane of vectors: from embedded Chroma to pgvector and to Qdrant, and from pgvector to Qdrant.

In the same run, for the ratios: Open WebUI's own client inserting the same records into the same server, and
github.com/qdrant/migration from pgvector to Qdrant where QDRANT_MIGRATION names its program (the module proxy may not
have it).

Into pgvector outgrow's time is that of the whole command, with the indexes built; Open WebUI's is the inserting alone, as it
makes the vector index at its next start. Into Qdrant there are two times of each: until all records are there, and until
the server has built its vector indexes as well, for which outgrow waits and the others do not. Payload indexes grow with
the records in all cases. outgrow has the vector index put off until all records are there. While Open WebUI's client
inserts, the server builds it for what is there already, and goes on with it while that client's next records are read,
which is not in its time; only what is left to be built after the last record is. qdrant/migration makes one graph of all
records instead of one a tenant.
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import threading
import time
import urllib.request

from server import REPO, Failed, measure

TIMES, PEAK = 5, 256e6
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
        ways = self.bench.args.ways.split(",")
        chroma = {"DATA_DIR": self.source, "VECTOR_DB": "chroma"}
        try:
            dsn = self.to_pgvector() if "chroma:pgvector" in ways else None
            if self.qdrant:
                if "chroma:qdrant" in ways:
                    self.to_qdrant("embedded Chroma", chroma, None)
                if "pgvector:qdrant" in ways:
                    if not dsn:
                        dsn = self.new_database()
                        self.migrate("filling", chroma, self.pgvector(dsn))
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
        what = "embedded Chroma to pgvector"
        rate = self.ours(what, ours)
        self.against(what, "Open WebUI's client", rate, theirs, TIMES)
        return dsn

    def to_qdrant(self, name, source, dsn):
        ours, theirs, peers = [], [], []
        for i in range(self.pairs):
            target = self.new_qdrant()
            with Watch(self, target["QDRANT_COLLECTION_PREFIX"]) as watch:
                ours.append(self.migrate(f"{name.split()[-1]}-qdrant-{i}", source, target))
            ours[-1].written = watch.grew - watch.began
            theirs.append(self.open_webui(self.new_qdrant()))
            if dsn and os.environ.get("QDRANT_MIGRATION"):
                peers.append(self.peer(dsn, ours[-1].records))
        what = f"{name} to Qdrant"
        rate = self.ours(what, ours)
        written = statistics.median(u.records / u.written for u in ours)
        waited = statistics.median(u.seconds - u.written for u in ours)
        self.table.line(f"{what}: outgrow, until written", f"{written:,.0f} records/s, index {waited:.1f} s")
        if None not in theirs:
            self.table.line(f"{what}: Open WebUI's, left to index", f"{statistics.median(t[2] for t in theirs):.1f} s")
        self.against(what, "Open WebUI's client", written, [t and t[0] for t in theirs], TIMES)
        self.against(what, "Open WebUI's, indexed", rate, [t and t[1] for t in theirs], 0)
        if peers:
            self.against(what, "qdrant/migration", written, [p[0] for p in peers], 1)
            self.against(what, "qdrant/migration, indexed", rate, [p[1] for p in peers], 1)
        elif dsn:
            print("qdrant/migration is left out: QDRANT_MIGRATION does not name it", flush=True)

    def ours(self, what, runs):
        rate, peak = statistics.median(u.records / u.seconds for u in runs), max(u.peak for u in runs)
        self.table.line(f"{what}: outgrow", f"{rate:,.0f} records/s (cpu {statistics.median(u.cpu for u in runs):.1f} s)")
        self.table.line(f"{what}: peak of {runs[0].records:,}", f"{peak / 1e6:.0f} MB", f"under {PEAK / 1e6:.0f} MB", peak < PEAK)
        return rate

    def against(self, what, whom, rate, theirs, times):
        """Compares rates; times is how often as fast outgrow has to be, 0 for any."""
        if None not in theirs:
            their = statistics.median(theirs)
            self.table.line(f"{what}: {whom}", f"{their:,.0f} records/s: {rate / their:.1f} times", f"at least {times} times" if times else "", rate >= times * their)

    def open_webui(self, target):
        """Records a second of Open WebUI's own client, None where it is not installed. Into Qdrant that and, with the
        seconds that the server goes on indexing, the rate again, and these seconds."""
        if not self.python.exists() or (target["VECTOR_DB"] == "qdrant" and not self.clients.exists()):
            print("Open WebUI's client is left out: make matrix installs it", flush=True)
            return None
        data = self.work / "owui"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        env = self.environment({**target, "DATA_DIR": data, "OWUI_VEC_OVERLAY": self.clients, "DATABASE_URL": f"sqlite:///{data}/webui.db"})
        done = subprocess.run([self.python, REPO / "testdata/bench/owui_insert.py", self.store, str(50 * self.bench.args.records)], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"Open WebUI's client: {done.stderr[-1500:]}")
        took = json.loads(done.stdout)
        rate = took["records"] / took["seconds"]
        if target["VECTOR_DB"] != "qdrant":
            return rate
        settled = self.settle()
        return rate, took["records"] / (took["seconds"] + settled), settled

    def collections(self, prefix=""):
        """What Qdrant tells of its collections."""

        def ask(path):
            with urllib.request.urlopen(f"{self.qdrant[0]}/collections{path}") as answer:
                return json.load(answer)["result"]

        return [ask("/" + c["name"]) for c in ask("")["collections"] if c["name"].startswith(prefix)]

    def settle(self):
        """Waits until Qdrant has nothing left to build, and gives how long that was."""
        began = time.monotonic()
        while any(c["status"] != "green" for c in self.collections()):
            time.sleep(0.1)
        return time.monotonic() - began

    def peer(self, dsn, records):
        self.prefixes += 1
        command = [os.environ["QDRANT_MIGRATION"], "pg", "--pg.url", dsn, "--pg.table", "document_chunk", "--pg.key-column", "id",
                   "--qdrant.url", f"http://127.0.0.1:{self.qdrant[1]}", "--qdrant.collection", f"peer{self.prefixes}", "--migration.batch-size", "500"]
        seconds = measure(command).seconds
        return records / seconds, records / (seconds + self.settle())


class Watch(threading.Thread):
    """Looks five times a second how many points Qdrant has, and knows when there came more for the last time."""

    def __init__(self, vectors, prefix):
        super().__init__(daemon=True)
        self.vectors, self.prefix, self.over = vectors, prefix, threading.Event()
        self.began = self.grew = time.monotonic()

    def run(self):
        most = 0
        while not self.over.wait(0.2):
            points = sum(c["points_count"] or 0 for c in self.vectors.collections(self.prefix))
            if points > most:
                most, self.grew = points, time.monotonic()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
