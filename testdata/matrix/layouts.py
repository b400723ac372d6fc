"""The layouts that Open WebUI's vectors can have, each in Open WebUI's own variables, on real servers.

A layout is there twice, as "source" and as "target": other databases, prefixes or servers.
"""
import pathlib
import re
import subprocess
import threading
import urllib.error
import urllib.request

REPO = pathlib.Path(__file__).resolve().parents[2]
STARTERS = REPO / "testdata/servers"


class Unavailable(Exception):
    pass


class Servers:
    """Starts each real server once, when it is first asked for, and stops all of them at the end."""

    def __init__(self, work):
        self.work = work
        self.said, self.stops, self.why = {}, [], ""
        self.lock = threading.Lock()

    def start(self, name, script, *more):
        """What the starter printed; it is never asked again, also when it failed."""
        with self.lock:
            return self.started(name, script, *more)

    def started(self, name, script, *more):
        folder = self.work / "servers" / name
        if name not in self.said:
            folder.mkdir(parents=True)
            (self.work / "servers").chmod(0o755)
            folder.chmod(0o777)
            done = subprocess.run([STARTERS / script, "start", folder, *more], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.said[name] = done.stdout.strip() if done.returncode == 0 else None
            self.why = done.stderr.strip()[-300:]
            self.stops.append(lambda: subprocess.run([STARTERS / script, "stop", folder], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        return self.answer(name)

    def serve(self, name, package):
        """The first line of a Go program that runs until its input ends."""
        if name not in self.said:
            program = self.work / name
            subprocess.run(["go", "build", "-o", program, package], cwd=REPO, check=True)
            child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.said[name] = child.stdout.readline().strip() or None
            self.why = "it does not start"
            self.stops.append(lambda: (child.stdin.close(), child.wait()))
        return self.answer(name)

    def answer(self, name):
        if self.said[name] is None:
            raise Unavailable(f"{name}: {self.why}")
        return self.said[name]

    def stop(self):
        for stop in reversed(self.stops):
            stop()


def sql(dsn, statement):
    import psycopg2

    with_connection = psycopg2.connect(dsn)
    with_connection.autocommit = True
    with_connection.cursor().execute(statement)
    with_connection.close()


class Layout:
    family = kind = ""
    unit = half = False
    sink = True

    def __init__(self, name, servers):
        self.name, self.servers = name, servers

    def variables(self, role):
        raise NotImplementedError

    def score(self, s):
        """As a score from 0 to 1."""
        return s

    def client_variables(self, role):
        return self.variables(role)


class Chroma(Layout):
    """Embedded: the folder vector_db of DATA_DIR."""

    family = kind = "chroma"
    sink = False

    def variables(self, role):
        return {"VECTOR_DB": "chroma"}


class ChromaHTTP(Layout):
    family, kind = "chroma", "chroma-http"

    def variables(self, role):
        host, port = self.servers.start("chroma", "chroma.sh").split(":")
        request = urllib.request.Request(f"http://{host}:{port}/api/v2/tenants/default_tenant/databases", method="POST",
                                         data=b'{"name": "%s"}' % role.encode(), headers={"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request).close()
        except urllib.error.HTTPError as e:
            if e.code != 409:
                raise
        return {"VECTOR_DB": "chroma", "CHROMA_HTTP_HOST": host, "CHROMA_HTTP_PORT": port, "CHROMA_DATABASE": role}


class PGVector(Layout):
    family = kind = "pgvector"

    def variables(self, role):
        dsn = self.servers.start("postgres", "postgres.sh")
        name = f"{self.name}_{role}".replace("-", "_")
        try:
            sql(dsn, f"CREATE DATABASE {name}")
        except Exception as e:
            if getattr(e, "pgcode", None) != "42P04":
                raise
        url = re.sub(r"/postgres(\?|$)", rf"/{name}\1", dsn).replace("postgres://", "postgresql://", 1)
        return {"VECTOR_DB": "pgvector", "PGVECTOR_DB_URL": url, "PGVECTOR_USE_HALFVEC": str(self.half).lower()}


class HalfVec(PGVector):
    half = True


class Qdrant(Layout):
    family = kind = "qdrant"
    unit = True
    multitenancy = "false"

    def variables(self, role):
        uri, grpc = self.servers.start("qdrant", "qdrant.sh").split()[:2]
        return {"VECTOR_DB": "qdrant", "QDRANT_URI": uri, "QDRANT_GRPC_PORT": grpc, "QDRANT_TIMEOUT": "60",
                "QDRANT_COLLECTION_PREFIX": f"{self.name}-{role}", "ENABLE_QDRANT_MULTITENANCY_MODE": self.multitenancy}


class QdrantMT(Qdrant):
    multitenancy = "true"


class Milvus(Layout):
    """Milvus 2.3.5: the layout of servers before 2.5. Its collections have one prefix, so each side has a database."""

    family = kind = "milvus"
    multitenancy = "false"

    def variables(self, role):
        uri = self.uri(role)
        return {"VECTOR_DB": "milvus", "MILVUS_URI": uri, "MILVUS_DB": self.database(uri, role), "ENABLE_MILVUS_MULTITENANCY_MODE": self.multitenancy,
                "MILVUS_COLLECTION_PREFIX": f"{self.name}_{role}".replace("-", "_")}

    def uri(self, role):
        return self.servers.start("milvus", "milvus.sh", "real")

    def database(self, uri, role):
        name = f"{self.name}_{role}".replace("-", "_")
        from pymilvus import MilvusClient

        client = MilvusClient(uri=uri)
        if name not in client.list_databases():
            client.create_database(name)
        client.close()
        return name


class MilvusMT(Milvus):
    multitenancy = "true"

    def score(self, s):
        return (s + 1) / 2


class MilvusLite(Milvus):
    """Milvus Lite, which is made to say that it is 2.6: the layout of servers from 2.5 on, with BM25. A server a side."""

    def uri(self, role):
        return self.servers.start(f"{self.name}-{role}", "milvus.sh", "bm25")

    def database(self, uri, role):
        return "default"


class MilvusLiteMT(MilvusLite):
    multitenancy = "true"

    def score(self, s):
        return (s + 1) / 2


class Pinecone(Layout):
    """A fake: there is no Pinecone to be had."""

    family = kind = "pinecone"

    def variables(self, role):
        controller = self.servers.serve("fakepinecone", "./testdata/servers/fakepinecone/serve")
        return {"VECTOR_DB": "pinecone", "PINECONE_API_KEY": "key", "PINECONE_ENVIRONMENT": "us-east-1", "PINECONE_INDEX_NAME": f"open-webui-{role}",
                "PINECONE_DIMENSION": "384", "PINECONE_CONTROLLER_HOST": controller}

    def client_variables(self, role):
        return {**self.variables(role), "OWUI_PINECONE_PLAINTEXT": "1"}


def layouts(servers):
    """All of them, in the order of the ring."""
    made = [Chroma("chroma", servers), ChromaHTTP("chroma-http", servers), PGVector("pgvector", servers), HalfVec("pgvector-halfvec", servers),
            Qdrant("qdrant", servers), QdrantMT("qdrant-mt", servers), Milvus("milvus", servers), MilvusMT("milvus-mt", servers),
            MilvusLite("milvus-lite-bm25", servers), MilvusLiteMT("milvus-lite-bm25-mt", servers), Pinecone("pinecone-fake", servers)]
    return {l.name: l for l in made}
