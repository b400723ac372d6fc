"""What may differ between two dumps of owui_vec.py, by the stores they were dumped from, and nothing else.

The rules are what each store itself does, measured with Open WebUI's own clients:

  qdrant     keeps the unit vector, not the length; a number may be one unit in the last place off
  pinecone   has no integers, keeps the text and the collection in the metadata
  chroma     gives back length times unit vector, one or two units in the last place off; its server parses JSON
             numbers up to one unit in the last place off
  halfvec    rounds to half precision
  pgvector   pads with 0.0
"""
import collections
import json

import numpy as np

TIES, HALF_TIES = 1.1e-5, 1.1e-3  # 1e-5 and 1e-3, and the dump's own rounding to 6 digits


def rows(path):
    with open(path) as f:
        return {(r["collection"], r["id"]): r for r in map(json.loads, f)}


def lines(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


class Pair:
    """Compares what the client of store a reads with what that of store b reads after the migration."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.problems, self.notes = [], collections.Counter()

    def problem(self, text):
        self.problems.append(text)

    def names(self, want, got):
        """Milvus has no hyphens in the names of collections."""
        plain = (lambda n: n.replace("-", "_")) if self.b.family == "milvus" else str
        if sorted(map(plain, want)) != sorted(map(plain, got)):
            self.problem(f"collections {sorted(got)}")

    def dumps(self, a, b):
        a, b = rows(a), rows(b)
        for key in sorted(a.keys() - b.keys()):
            self.problem(f"missing: {key}")
        for key in sorted(b.keys() - a.keys()):
            self.problem(f"extra: {key}")
        for key in sorted(a.keys() & b.keys()):
            if a[key]["text"] != b[key]["text"]:
                self.problem(f"text differs: {key}")
            self.metadata(key, a[key], b[key])
            self.vector(key, a[key]["vector"], b[key]["vector"])
        return len(a.keys() & b.keys())

    def metadata(self, key, a, b):
        want, got = dict(a["metadata"] or {}), dict(b["metadata"] or {})
        if self.a.kind == "pinecone":
            want.pop("text"), want.pop("collection_name")
        if self.b.kind == "pinecone":
            if (got.pop("text", None), got.pop("collection_name", None)) != (b["text"], "open-webui_" + b["collection"]):
                self.problem(f"text or collection_name in the metadata of {key}")
            for name, value in want.items():
                if type(value) is int:
                    want[name] = float(value)
                    self.notes["integers as floats"] += 1
        for name in sorted(want.keys() | got.keys()):
            x, y = want.get(name, "(absent)"), got.get(name, "(absent)")
            if type(x) is type(y) and x == y:
                continue
            if self.b.kind in ("chroma-http", "qdrant") and type(x) is type(y) is float and abs(x - y) <= np.spacing(max(abs(x), abs(y))):
                self.notes["floats 1 ulp off"] += 1
                continue
            self.problem(f"metadata {name!r} of {key}: {x!r:.80} became {y!r:.80}")

    def vector(self, key, a, b):
        if not a or not b:
            return self.problem(f"no vector: {key}")
        a, b = np.array(a, np.float32), np.array(b, np.float32)
        n = min(len(a), len(b))
        if len(a) != len(b):
            padded = self.a if len(a) > n else self.b
            if padded.kind != "pgvector" or a[n:].any() or b[n:].any():
                return self.problem(f"{len(a)} dimensions became {len(b)}: {key}")
            self.notes["padding"] += 1
            a, b = a[:n], b[:n]
        if (a == b).all():
            self.notes["vectors exact"] += 1
            return None
        wide, off = a.astype(np.float64), np.zeros(n)
        if self.b.unit:
            wide = wide / np.linalg.norm(wide)
            off += 2e-7
            self.notes["unit vectors"] += 1
        if self.b.half:
            off += np.abs(wide) * 2.0**-11 + 2.0**-25
            self.notes["half precision"] += 1
        if "chroma" in (self.a.family, self.b.family):
            off += 5e-7 * max(1, np.abs(wide).max())
            self.notes["chroma's rounding"] += 1
        if (np.abs(wide - b.astype(np.float64)) > off).any():
            self.problem(f"vector differs by up to {np.abs(wide - b).max():.2g}: {key}")
        return None

    def witness(self, found):
        """What `owui_vec.py diff` found between the same dumps, which knows nothing of these rules."""
        for what in ("only_a", "only_b", "text_diff"):
            if found[what]:
                self.problem(f"owui_vec.py diff: {what} is {found[what]}")
        for name, change in found["metadata_diff"].items():
            pinecone = {self.a.kind, self.b.kind} & {"pinecone"}
            expected = (pinecone and name in ("text", "collection_name"), self.b.kind == "pinecone" and change["types"] == "int->float",
                        self.b.kind in ("chroma-http", "qdrant") and change["types"] == "float->float")
            if not any(expected):
                self.problem(f"owui_vec.py diff: metadata {name!r}: {change}")
        half = self.a.half or self.b.half
        if found["vector_min_cos"] < 1 - (1e-5 if half else 1e-6):
            self.problem(f"owui_vec.py diff: a cosine of {found['vector_min_cos']}")
        chroma = "chroma" in (self.a.family, self.b.family)
        if not self.b.unit and (found["norm_changed"] or not (half or chroma) and found["vector_max_abs"] > 0):
            self.problem(f"owui_vec.py diff: {found['norm_changed']} lengths changed, vectors off by {found['vector_max_abs']}")
        return f"diff: {found['vector_exact']} vectors exact, least cosine {found['vector_min_cos']:.7f}"

    def searches(self, a, b):
        a, b = lines(a), lines(b)
        if len(a) != len(b):
            self.problem(f"{len(a)} searches on the source, {len(b)} on the target")
        tolerance = HALF_TIES if self.a.half or self.b.half else TIES
        same = 0
        for i, (x, y) in enumerate(zip(a, b)):
            wrong = self.search(x, y, tolerance)
            if wrong:
                self.problem(f"search {i} in {x['collection']}: {wrong}")
            else:
                same += 1
        return same

    def search(self, a, b, tolerance):
        if not a.get("ids") or not b.get("ids"):
            return f"{str(a)[:120]} and {str(b)[:120]}"
        want = [(i, self.a.score(s)) for i, s in zip(a["ids"], a["scores"])]
        got = [(i, self.b.score(s)) for i, s in zip(b["ids"], b["scores"])]
        if len(got) != len(want):
            return f"{len(got)} hits, not {len(want)}"
        for rank, ((i, x), (j, y)) in enumerate(zip(want, got)):
            if not abs(x - y) <= tolerance:
                return f"score {y} at rank {rank}, not {x}"
        scores, cut = dict(got), want[-1][1]
        for i, x in want:
            if i not in scores and x > cut + tolerance:
                return f"{i} is missing"
            if i in scores and not abs(scores[i] - x) <= tolerance:
                return f"{i} has the score {scores[i]}, not {x}"
        return None

