"""Inserts records of an embedded Chroma store through Open WebUI's own vector client, and prints how long that took.

usage: owui_insert.py STORE N        prints {"records", "seconds"}

Runs in Open WebUI's environment; its variables say where to. A collection is one insert(), as Open WebUI saves a file.
Reading the store, starting the client and turning arrays into lists are not in the time.
"""
import json
import os
import sys
import time

answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
if overlay := os.environ.get("OWUI_VEC_OVERLAY"):
    sys.path.append(overlay)
os.environ.update(FROM_INIT_PY="true", WEBUI_SECRET_KEY="x", GLOBAL_LOG_LEVEL="WARNING", ENABLE_OLLAMA_API="false", OFFLINE_MODE="true", HF_HUB_OFFLINE="1")

import chromadb  # noqa: E402


def records(store, n):
    client = chromadb.PersistentClient(path=store, settings=chromadb.config.Settings(anonymized_telemetry=False))
    for listed in sorted(client.list_collections(), key=lambda c: c.name):
        if n <= 0:
            return
        got = client.get_collection(listed.name, embedding_function=None).get(limit=n, include=["embeddings", "documents", "metadatas"])
        n -= len(got["ids"])
        yield listed.name, [{"id": i, "text": t, "vector": v.tolist(), "metadata": m}
                            for i, t, v, m in zip(got["ids"], got["documents"], got["embeddings"], got["metadatas"])]


from open_webui.retrieval.vector import factory  # noqa: E402

client = factory.get_vector_db_client()
count, seconds = 0, 0.0
for name, items in records(sys.argv[1], int(sys.argv[2])):
    began = time.monotonic()
    client.insert(name, items)
    seconds += time.monotonic() - began
    count += len(items)
print(json.dumps({"records": count, "seconds": seconds}), file=answer, flush=True)
os._exit(0)
