"""The lane of files: from a local folder to an object store, against rclone on the same folder in the same run, and against
the limit that the server and this machine set: curl with the same bytes, which does nothing else (bare.py).

2,000 files of 20 KiB and one of 1 GiB, each into an empty bucket of versitygw, fake-gcs-server and Azurite, which share the
machine. outgrow's time is that of the whole command, its plan included; rclone's is that of `rclone copy`, with 8 and with 32
transfers for the small files, the better of which counts; curl's that of the requests alone, 8 and 32 at a time. Runs are
interleaved and the files are in the page cache. rclone is left out where it is not in PATH, or its backend does not work
against the server, curl where it is not in PATH. --works takes small or large alone.
"""
import json
import os
import random
import shutil
import statistics
import subprocess
import urllib.request

import bare
from bare import AZURITE_KEY, S3_KEY, S3_REGION, S3_SECRET
from server import REPO, Failed, measure

SMALL, PEAK = 20 << 10, 160e6
# How often as fast as rclone outgrow has to be, where curl shows that the server allows it.
LIMITS = {"small": 1, "large": 2}


class Peer:
    """One server: how a bucket is made, the variables for it of Open WebUI and of rclone, and the bare requests."""

    at_a_time = (4,)  # pieces of a large file

    def __init__(self, folder, endpoint):
        self.folder, self.endpoint = folder, endpoint


class S3(Peer):
    script = "s3.sh"

    def create(self, bucket):
        (self.folder / "data" / bucket).mkdir()

    def variables(self, bucket):
        return {"STORAGE_PROVIDER": "s3", "S3_ENDPOINT_URL": self.endpoint, "S3_REGION_NAME": S3_REGION, "S3_ACCESS_KEY_ID": S3_KEY,
                "S3_SECRET_ACCESS_KEY": S3_SECRET, "S3_BUCKET_NAME": bucket}

    def rclone(self):
        return {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": self.endpoint, "REGION": S3_REGION, "ACCESS_KEY_ID": S3_KEY,
                "SECRET_ACCESS_KEY": S3_SECRET, "NO_CHECK_BUCKET": "true"}

    def small(self, bucket, file):
        return bare.s3(self.endpoint, "PUT", f"/{bucket}/{file.name}", file=file)

    def large(self, bucket, file, folder):
        return bare.s3_parts(self.endpoint, bucket, file.name, folder, bare.pieces(folder, file))


class GCS(Peer):
    script, at_a_time = "gcs.sh", (1,)

    def create(self, bucket):
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/storage/v1/b?project=t", method="POST", data=json.dumps({"name": bucket}).encode(),
                                                      headers={"Content-Type": "application/json"})).close()

    def variables(self, bucket):
        return {"STORAGE_PROVIDER": "gcs", "GCS_BUCKET_NAME": bucket, "STORAGE_EMULATOR_HOST": self.endpoint}

    def rclone(self):
        return {"TYPE": "google cloud storage", "ENDPOINT": f"{self.endpoint}/storage/v1/", "ANONYMOUS": "true", "PROJECT_NUMBER": "1",
                "BUCKET_POLICY_ONLY": "true"}

    def small(self, bucket, file):
        return bare.gcs_put(self.endpoint, bucket, file)

    def large(self, bucket, file, _):
        """In one request: the emulator digests all that it has of an upload with every part."""
        return [[bare.gcs_put(self.endpoint, bucket, file)]]


class Azure(Peer):
    script = "azure.sh"

    def create(self, bucket):
        bare.azure(self.endpoint, bucket, query={"restype": "container"}).send()

    def variables(self, bucket):
        return {"STORAGE_PROVIDER": "azure", "AZURE_STORAGE_ENDPOINT": self.endpoint, "AZURE_STORAGE_CONTAINER_NAME": bucket, "AZURE_STORAGE_KEY": AZURITE_KEY}

    def rclone(self):
        return {"TYPE": "azureblob", "USE_EMULATOR": "true", "ENDPOINT": self.endpoint}

    def small(self, bucket, file):
        return bare.azure_put(self.endpoint, bucket, file)

    def large(self, bucket, file, folder):
        return bare.azure_blocks(self.endpoint, bucket, file.name, folder, bare.pieces(folder, file))


KINDS = {"s3": S3, "gcs": GCS, "azure": Azure}


class Storage:
    def __init__(self, bench, pairs, files, large, kinds=tuple(KINDS), works=("small", "large")):
        self.bench, self.table, self.pairs, self.buckets = bench, bench.table, pairs, 0
        self.kinds = {name: KINDS[name] for name in kinds}
        self.work = bench.work / "storage"
        self.work.mkdir()
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("OUTGROW_FROM", "OUTGROW_TO", "S3_", "GCS_", "AZURE_", "AWS_", "GOOGLE_", "STORAGE_", "RCLONE_"))
                            and k not in ("DATABASE_URL", "DATA_DIR", "VECTOR_DB")}
        self.works = {work: self.source(work, {"small": [SMALL] * files, "large": [large]}[work]) for work in works}

    def source(self, name, sizes):
        """A DATA_DIR with uploads of these sizes, in the page cache."""
        folder, some = self.work / name, random.Random(5)
        (folder / "uploads").mkdir(parents=True)
        shutil.copy(self.bench.work / "small/webui.db", folder)
        for i, size in enumerate(sizes):
            with open(folder / f"uploads/{i:08x}-0000-4000-8000-000000000000_file {i}.bin", "wb") as f:
                for at in range(0, size, 1 << 20):
                    f.write(some.randbytes(min(1 << 20, size - at)))
        return folder

    def run(self):
        if not shutil.which("rclone"):
            print("rclone is left out: it is not in PATH", flush=True)
        for name, kind in self.kinds.items():
            folder, starter = self.work / f"{name}.server", REPO / "testdata/servers" / kind.script
            done = subprocess.run([starter, "start", folder], env={**os.environ, "OUTGROW_INSTALL": "1"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            try:
                if done.returncode:
                    print(f"no server for {name}: its measurements are left out", flush=True)
                else:
                    self.store(name, kind(folder.resolve(), done.stdout.split()[0]))
            finally:
                subprocess.run([starter, "stop", folder], stdin=subprocess.DEVNULL)
                shutil.rmtree(folder, ignore_errors=True)

    def store(self, name, peer):
        peered = shutil.which("rclone") and self.copies(name, peer)
        for work, source in self.works.items():
            transfers, requests = ((8, 32), (8, 32)) if work == "small" else ((8,), peer.at_a_time)
            files = list((source / "uploads").iterdir())
            bytes_ = sum(f.stat().st_size for f in files)
            ways = {"outgrow": lambda: self.outgrow(peer, source)}
            if peered:
                ways |= {f"rclone --transfers {n}": lambda n=n: self.rclone(peer, source / "uploads", n) for n in transfers}
            if shutil.which("curl"):
                ways |= {f"curl, {n} at a time": lambda n=n: self.bare(peer, work, files, n) for n in requests}
            used = {way: [] for way in ways}
            for i in range(self.pairs):
                order = list(ways) if i % 2 == 0 else list(ways)[::-1]
                for way in order:
                    used[way].append(ways[way]())
            self.report(name, work, len(files), bytes_, used)

    def report(self, name, work, files, bytes_, used):
        kib = bytes_ // files >> 10
        what = f"{name}, {files:,} of {f'{kib} KiB' if kib < 1024 else f'{kib >> 10:,} MiB'}"
        seconds = {way: statistics.median(u.seconds for u in runs) for way, runs in used.items()}
        for way, runs in used.items():
            peak = max(u.peak for u in runs)
            limit = (f"under {PEAK / 1e6:.0f} MB", peak < PEAK) if way == "outgrow" else ()
            self.table.line(f"{what}: {way}", f"{files / seconds[way]:,.0f} files/s, {bytes_ / 1e6 / seconds[way]:.0f} MB/s")
            if not way.startswith("curl"):
                self.table.line(f"{what}: {way}, peak", f"{peak / 1e6:.0f} MB, cpu {statistics.median(u.cpu for u in runs):.1f} s", *limit)
        best = {peer: min((s for way, s in seconds.items() if way.startswith(peer)), default=0) for peer in ("rclone", "curl")}
        limit = LIMITS[work]
        if best["rclone"] and best["curl"] and best["rclone"] / best["curl"] < limit:
            self.table.line(f"{what}: curl against rclone", f"{best['rclone'] / best['curl']:.2f} times: the server allows no more")
            limit = 0
        for peer, limit in (("rclone", limit), ("curl", 0)):
            if best[peer]:
                times = best[peer] / seconds["outgrow"]
                self.table.line(f"{what}: against {peer}", f"{times:.2f} times", f"at least {limit} times" if limit else "", times >= limit)

    def bucket(self, peer):
        """A new one; what earlier runs have written is not on its way to the disk any more."""
        self.buckets += 1
        os.sync()
        name = f"bench{self.buckets}"
        peer.create(name)
        return name

    def outgrow(self, peer, source):
        bucket = self.bucket(peer)
        folder = self.work / bucket
        (folder / "data").mkdir(parents=True)
        env = folder / "b.env"
        env.write_text("".join(f"{k}='{v}'\n" for k, v in {**peer.variables(bucket), "DATA_DIR": folder / "data"}.items()))
        used = measure([self.bench.program, "migrate", "--only", "files", "--stopped", "--accept", "drift", "--from", source, "--to", env,
                        *self.bench.args.flags], env=self.environment)
        report = json.loads((folder / "b.outgrow/report.json").read_text())
        if not report["migrate"]["complete"]:
            raise Failed(f"{bucket}: {report['migrate']}")
        return used

    def rclone(self, peer, folder, transfers):
        return measure(self.command(folder, self.bucket(peer), transfers), env=self.peers(peer))

    def command(self, folder, bucket, transfers):
        return ["rclone", "copy", folder, f"peer:{bucket}", "--transfers", str(transfers), "--config", os.devnull, "--retries", "1"]

    def peers(self, peer):
        return {**self.environment, **{f"RCLONE_CONFIG_PEER_{k}": v for k, v in peer.rclone().items()}}

    def bare(self, peer, work, files, at_a_time):
        bucket = self.bucket(peer)
        folder = self.work / f"{bucket}.curl"
        folder.mkdir()
        stages = [[peer.small(bucket, f) for f in files]] if work == "small" else peer.large(bucket, files[0], folder)
        used = measure(bare.command(folder, stages, at_a_time), env=self.environment)
        shutil.rmtree(folder)
        return used

    def copies(self, name, peer):
        """Whether rclone can copy to that server at all."""
        folder = self.work / "probe"
        folder.mkdir(exist_ok=True)
        (folder / "a").write_bytes(b"a")
        done = subprocess.run([*self.command(folder, self.bucket(peer), 1), "--low-level-retries", "1", "--timeout", "20s"], env=self.peers(peer),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if done.returncode:
            print(f"rclone is left out for {name}: {' '.join(done.stdout.split())[-300:]}", flush=True)
        return done.returncode == 0
