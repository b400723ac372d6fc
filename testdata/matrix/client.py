"""Open WebUI's own vector client, kept running: one command a line on standard input, one answer a line on standard output.

  {"do": "load", "file": F, "batch": N}                               through insert(); gives how many failed
  {"do": "snapshot", "corpus": F, "dump": F, "queries": F, "search": F, "rows": N}
        dump of the corpus's collections and search results, once N rows can be read; gives the names of all collections
  {"do": "run", "args": [...]}                                a command of owui_vec.py; gives whether it failed

Runs in Open WebUI's environment, with its variables; everything is done by owui_vec.py, whose folder OWUI_TOOLS names. A
store may show what was written only after some seconds (Milvus): the snapshot is repeated until it has all rows.
"""
import json
import os
import sys
import time
import types

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever libraries print is no answer
sys.path.append(os.environ["OWUI_TOOLS"])
import owui_vec  # noqa: E402

client = owui_vec.get_client()
owui_vec.get_client = lambda: client


def load(do):
    code = owui_vec.cmd_load(types.SimpleNamespace(file=do["file"], batch=do["batch"], upsert=False))
    return {"failed": bool(code)}


def snapshot(do):
    deadline = time.monotonic() + 300
    while True:
        owui_vec.cmd_dump(types.SimpleNamespace(out=do["dump"], collections=do["corpus"], no_vectors=False))
        with open(do["dump"]) as f:
            rows = sum(1 for _ in f)
        if rows >= do["rows"] or time.monotonic() > deadline:
            break
        time.sleep(1)
    owui_vec.cmd_search(types.SimpleNamespace(file=do["queries"], out=do["search"], limit=10))
    return {"rows": rows, "names": owui_vec.list_collections(client)}


def run(do):
    sys.argv[1:] = do["args"]
    return {"failed": bool(owui_vec.main())}


print(json.dumps({"ready": owui_vec.kind(client)}), file=answers, flush=True)
for line in sys.stdin:
    do = json.loads(line)
    try:
        answer = {"load": load, "snapshot": snapshot, "run": run}[do["do"]](do)
    except Exception as e:  # the matrix goes on with the next pair
        answer = {"error": f"{type(e).__name__}: {e}"[:600]}
    print(json.dumps(answer), file=answers, flush=True)
os._exit(0)  # some clients leave threads behind
