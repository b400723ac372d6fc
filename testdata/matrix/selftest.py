"""Damages a dump in every way that a bad migration would, and makes sure that the rules see it."""
import copy
import json


def check(dump, search, make, folder):
    """make gives a comparison of a layout with itself by its name; the dump is that of a store that is read exactly."""
    with open(dump) as f:
        rows = [json.loads(line) for line in f]
    with open(search) as f:
        hits = [json.loads(line) for line in f]
    rich = next(i for i, r in enumerate(rows) if "score" in r["metadata"])

    def metadata(name, value):
        return lambda r, h: r[rich]["metadata"].__setitem__(name, value(r[rich]["metadata"].get(name)))

    damages = {
        "a record is missing": lambda r, h: r.pop(17),
        "a record is there too much": lambda r, h: r.append({**r[17], "id": "new"}),
        "a text": lambda r, h: r[17].__setitem__("text", r[17]["text"] + " "),
        "an integer became a float": metadata("big", float),
        "a float became an integer": metadata("int_valued_float", lambda v: 3),
        "a float is one unit off": metadata("tiny", lambda v: v * (1 + 2.0**-52)),
        "a key is missing": lambda r, h: r[rich]["metadata"].pop("flag"),
        "a list instead of its text": metadata("headings", lambda v: [1]),
        "an element of a vector": lambda r, h: r[17]["vector"].__setitem__(3, r[17]["vector"][3] + 1e-4),
        "two vectors changed places": lambda r, h: swap(r[17], r[18], "vector"),
        "a shorter vector": lambda r, h: r[17]["vector"].__delitem__(slice(100, None)),
        "a score": lambda r, h: h[3]["scores"].__setitem__(2, h[3]["scores"][2] + 1e-4),
        "another hit": lambda r, h: h[3]["ids"].__setitem__(2, "other"),
        "hits in another order": lambda r, h: h[3]["ids"].reverse(),
        "a search failed": lambda r, h: h.__setitem__(3, {"collection": h[3]["collection"], "error": "x"}),
    }
    unseen = []
    for name, damage in {"nothing": lambda r, h: None, **damages}.items():
        r, h = copy.deepcopy(rows), copy.deepcopy(hits)
        damage(r, h)
        for path, content in ((folder / "r", r), (folder / "h", h)):
            path.write_text("".join(json.dumps(x) + "\n" for x in content))
        pair = make()
        pair.dumps(dump, folder / "r")
        pair.searches(search, folder / "h")
        if bool(pair.problems) != (name in damages):
            unseen.append(name)
    return unseen


def swap(a, b, key):
    a[key], b[key] = b[key], a[key]
