#!/usr/bin/env python3
"""Makes an embedded Chroma store for benchmarks, with the real chromadb (1.5.9 is what Open WebUI 0.12 pins).

usage: make_store.py FOLDER [--collections 50] [--records 2000] [--dim 768] [--chars 600] [--batch 500]

The collections, metadata keys and default thresholds are those of Open WebUI: space cosine, one collection a file,
ten metadata keys. The same arguments give the same records (ids, documents, metadata, vectors).
"""
import argparse
import os
import random
import uuid

import chromadb
import numpy as np

WORDS = ("storage index vector chat folder answer model prompt release server customer invoice quarter report "
         "meeting policy holiday budget network question table figure summary contract delivery warehouse").split()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("folder")
    ap.add_argument("--collections", type=int, default=50)
    ap.add_argument("--records", type=int, default=2000, help="records a collection")
    ap.add_argument("--dim", type=int, default=768)
    ap.add_argument("--chars", type=int, default=600, help="length of a document")
    ap.add_argument("--batch", type=int, default=500, help="records an add()")
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    os.makedirs(a.folder)
    client = chromadb.PersistentClient(path=a.folder, settings=chromadb.config.Settings(anonymized_telemetry=False))
    rnd, gen = random.Random(a.seed), np.random.default_rng(a.seed)
    for c in range(a.collections):
        file = str(uuid.UUID(int=rnd.getrandbits(128), version=4))
        col = client.get_or_create_collection("file-" + file, metadata={"hnsw:space": "cosine"})
        for at in range(0, a.records, a.batch):
            n = min(a.batch, a.records - at)
            ids, docs, metas = [], [], []
            for i in range(at, at + n):
                ids.append(str(uuid.UUID(int=rnd.getrandbits(128), version=4)))
                text = ""
                while len(text) < a.chars:
                    text += rnd.choice(WORDS) + " "
                docs.append(text[: a.chars])
                metas.append({
                    "name": f"report {c}.pdf", "source": f"report {c}.pdf", "created_by": str(uuid.UUID(int=c)), "file_id": file,
                    "start_index": i * a.chars, "page": i // 3, "page_label": str(i // 3 + 1), "score": rnd.random(),
                    "hash": f"{rnd.getrandbits(256):064x}",
                    "embedding_config": '{"engine": "openai", "model": "text-embedding"}',
                })
            col.add(ids=ids, documents=docs, metadatas=metas, embeddings=gen.standard_normal((n, a.dim), dtype=np.float32))
        print(f"{c + 1}/{a.collections}", flush=True)


main()
