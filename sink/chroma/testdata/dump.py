#!/usr/bin/env python3
"""Opens a Chroma store with the real chromadb and prints what it gives: a line of JSON a collection.

usage: dump.py FOLDER [TENANT/DATABASE ...]      everything there is, with searches
       dump.py FOLDER --add COLLECTION           puts record "added" into a collection, changes and deletes two
       dump.py FOLDER --find COLLECTION TEXT     lists the ids of the documents with that text
       dump.py FOLDER --make                     makes the store that make.jsonl on the input describes
       dump.py FOLDER --time COLLECTION          prints how long opening and the first uses take
"""
import base64
import json
import os
import sys
import time

os.environ["ANONYMIZED_TELEMETRY"] = "false"
import chromadb  # noqa: E402
import numpy as np  # noqa: E402


def code(v):
    return base64.b64encode(np.asarray(v, dtype="<f4").tobytes()).decode()


def dump(client, where):
    for col in sorted(client.list_collections(), key=lambda c: c.name):
        got = col.get(include=["documents", "metadatas"])
        out = {"where": where, "name": col.name, "metadata": col.metadata, "config": col.configuration_json, "count": col.count(), "ids": got["ids"],
               "documents": got["documents"], "metadatas": got["metadatas"], "vectors": [], "queries": [], "filters": []}
        try:
            vectors = col.get(include=["embeddings"])["embeddings"]
        except Exception as e:  # vectors that Chroma has lost
            out["lost"] = str(e)
            vectors = None
        if vectors is not None:
            out["vectors"] = [code(v) for v in vectors]
            asked = sorted(range(len(got["ids"])), key=lambda i: got["ids"][i])[:5]
            for i in asked:
                q = col.query(query_embeddings=[vectors[i]], n_results=min(10, len(got["ids"])))
                out["queries"].append({"ids": q["ids"][0], "distances": q["distances"][0]})
            for i in asked[:2]:
                document, metadata = got["documents"][i], got["metadatas"][i]
                if document and len(document) > 3:
                    out["filters"].append(sorted(col.get(where_document={"$contains": document[: max(3, len(document) // 2)]})["ids"]))
                for key, value in sorted((metadata or {}).items()):
                    if not isinstance(value, list) and value == value:
                        out["filters"].append(sorted(col.get(where={key: value})["ids"]))
        print(json.dumps(out))


def main():
    store = sys.argv[1]
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    began = time.time()
    if sys.argv[2:3] == ["--time"]:
        client = chromadb.PersistentClient(path=store, settings=settings)
        col = client.get_collection(sys.argv[3])
        took = [time.time() - began]
        for use in (col.count, lambda: col.query(query_embeddings=[col.peek(1)["embeddings"][0]], n_results=10)):
            at = time.time()
            use()
            took.append(time.time() - at)
        print(json.dumps({"open": took[0], "count": took[1], "query": took[2]}))
    elif sys.argv[2:3] == ["--add"]:
        col = chromadb.PersistentClient(path=store, settings=settings).get_or_create_collection(sys.argv[3], metadata={"hnsw:space": "cosine"})
        got = col.get(limit=2, include=["embeddings"])
        dim = len(got["embeddings"][0])
        col.add(ids=["added"], embeddings=[[1.0] + [0.0] * (dim - 1)], documents=["added by chromadb"], metadatas=[{"new": 1}])
        col.update(ids=[got["ids"][0]], embeddings=[got["embeddings"][0]], documents=["changed by chromadb"])
        col.delete(ids=[got["ids"][1]])
    elif sys.argv[2:3] == ["--find"]:
        col = chromadb.PersistentClient(path=store, settings=settings).get_collection(sys.argv[3])
        print(json.dumps(col.get(where_document={"$contains": sys.argv[4]}, include=[])["ids"]))
    elif sys.argv[2:3] == ["--make"]:
        client = chromadb.PersistentClient(path=store, settings=settings)
        for line in sys.stdin:
            c = json.loads(line)
            col = client.get_or_create_collection(c["name"], metadata={"hnsw:space": "cosine"})
            records = c["records"] or []
            for at in range(0, len(records), 300):
                some = records[at : at + 300]
                col.add(ids=[r["id"] for r in some], documents=[r["text"] for r in some], metadatas=[r.get("metadata") for r in some],
                        embeddings=[np.asarray(r["embedding"], dtype="<f4") for r in some])
    else:
        for where in sys.argv[2:] or ["default_tenant/default_database"]:
            tenant, database = where.split("/")
            dump(chromadb.PersistentClient(path=store, settings=settings, tenant=tenant, database=database), where)


main()
