"""Compares what Open WebUI reads on the target with what was put on the source, and makes sure that it sees damages."""
import collections


def lost(source, name):
    """Why a file cannot leave a source, "" when it must be on the target."""
    return ""


class Comparison:
    def __init__(self, files, source=""):
        self.files, self.source = {f.id: f for f in files}, source
        self.problems, self.notes, self.same, self.bytes = [], collections.Counter(), 0, 0

    def problem(self, kind, file, text):
        self.problems.append((kind, file, text))

    def rows(self, rows, form):
        """The target's file.path by the file's id; form gives what Open WebUI would have written for a name."""
        for id_ in sorted(rows.keys() - self.files.keys()):
            self.problem("extra row", id_, rows[id_])
        for id_, f in self.files.items():
            if id_ not in rows:
                self.problem("missing row", id_, f.name)
            elif rows[id_] != form(f.name) and not lost(self.source, f.name):
                self.problem("path", id_, f"{rows[id_]!r} instead of {form(f.name)!r}")

    def contents(self, answers):
        """What Open WebUI's provider class read, by the file's id."""
        for id_, f in self.files.items():
            answer = answers.get(id_) or {"error": "it was not read"}
            if answer.get("sha256") == f.sha256 and answer.get("len") == f.bytes:
                self.same, self.bytes = self.same + 1, self.bytes + f.bytes
            elif lost(self.source, f.name):
                self.notes[lost(self.source, f.name)] += 1
            elif "error" in answer:
                self.problem("unreadable", id_, f"{f.name!r}: {answer['error']}")
            else:
                self.problem("bytes", id_, f"{f.name!r}: {answer['len']} bytes, {answer['sha256'][:12]}; there were {f.bytes}, {f.sha256[:12]}")

    def objects(self, names, normal):
        """The names that the store itself lists."""
        want = collections.Counter(normal(f.name) for f in self.files.values() if not lost(self.source, f.name))
        got = collections.Counter(map(normal, names))
        for name in sorted((got - want).keys()):
            self.problem("extra object", name, repr(name))
        for name in sorted((want - got).keys()):
            self.problem("missing object", name, repr(name))


def selftest(files, uploads, read, form):
    """Damages a local deployment in every way that a bad migration would; gives what the comparison does not see.

    uploads is its folder with the files (which are changed), read has Open WebUI read a mapping of ids to paths.
    """
    rows = {f.id: form(f.name) for f in files}
    spare = iter(files)
    wanted = set()

    def damage(kind):
        f = next(spare)
        wanted.add((kind, f.id))
        return f

    f = damage("bytes")
    body = bytearray((uploads / f.name).read_bytes())
    body[len(body) // 2] ^= 1
    (uploads / f.name).write_bytes(body)
    f = damage("bytes")
    (uploads / f.name).write_bytes((uploads / f.name).read_bytes()[:-1])
    f = damage("unreadable")
    wanted.add(("missing object", f.name))
    (uploads / f.name).unlink()
    f = damage("path")  # of another file
    wanted.add(("bytes", f.id))
    rows[f.id] = form(files[-1].name)
    f = damage("path")  # of none
    wanted.add(("unreadable", f.id))
    rows[f.id] = form("nothing")
    f = damage("path")  # readable, but not what Open WebUI writes
    rows[f.id] = str(uploads) + "//" + f.name
    f = damage("missing row")
    wanted.add(("unreadable", f.id))
    del rows[f.id]
    rows["new"] = form(files[-1].name)
    wanted.add(("extra row", "new"))
    (uploads / "extra").write_bytes(b"x")
    wanted.add(("extra object", "extra"))

    c = Comparison(files)
    c.rows(rows, form)
    c.contents(read(rows))
    c.objects([p.name for p in uploads.iterdir()], str)
    seen = {(kind, key) for kind, key, _ in c.problems}
    return sorted(f"{kind} of {key}" for kind, key in seen ^ wanted)
