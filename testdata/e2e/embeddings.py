#!/usr/bin/env python3
"""A stand-in for an OpenAI-compatible API: /v1/models and deterministic /v1/embeddings.

    embeddings.py PORT

The vectors stored in testdata/datadir.tar.gz came from the same function of the text, so that a query embedded here
finds its neighbours there. The function: each distinct lower-case word w, occurring c times, adds log(1 + c) times its
word vector; the whole text behind a '#' adds a quarter of its own. The sum is scaled to length 1 and rounded to float32.
A word vector's numbers are the big-endian 16-bit words of SHA-256("0:w"), SHA-256("1:w"), ..., each mapped from
0..65535 to -1..1 (divided by 32768, minus 1).
"""
import collections
import functools
import hashlib
import http.server
import itertools
import json
import math
import struct
import sys

DIMENSIONS = 384
MODELS = ("fake-chat", "fake-embed")


@functools.lru_cache(maxsize=65536)
def word_vector(word):
    numbers = []
    for block in itertools.count():
        digest = hashlib.sha256(f"{block}:{word}".encode("utf-8", "surrogatepass")).digest()
        numbers.extend(n / 32768.0 - 1.0 for n in struct.unpack(">16H", digest))
        if len(numbers) >= DIMENSIONS:
            return tuple(numbers[:DIMENSIONS])


def embed(text):
    words = collections.Counter(text.lower().split() or ["<empty>"])
    total = [0.0] * DIMENSIONS
    weighted = [(math.log1p(count), word) for word, count in words.items()]
    for weight, word in weighted + [(0.25, "#" + text)]:
        for i, number in enumerate(word_vector(word)):
            total[i] += weight * number
    length = math.sqrt(sum(n * n for n in total)) or 1.0
    packed = struct.pack(f"{DIMENSIONS}f", *(n / length for n in total))
    return struct.unpack(f"{DIMENSIONS}f", packed)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, status=200):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if not self.path.rstrip("/").endswith("/models"):
            return self.answer({"error": "only /models and /embeddings are served"}, 404)
        models = [{"id": name, "object": "model", "created": 1700000000, "owned_by": "lab"} for name in MODELS]
        return self.answer({"object": "list", "data": models})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if not self.path.rstrip("/").endswith("/embeddings"):
            return self.answer({"error": "only /models and /embeddings are served"}, 404)
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else texts
        data = [{"object": "embedding", "index": i, "embedding": embed(t)} for i, t in enumerate(texts)]
        return self.answer({"object": "list", "model": body.get("model"), "data": data})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
