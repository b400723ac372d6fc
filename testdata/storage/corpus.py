"""The files that are moved, and the webui.db whose rows name them.

28 files with odd names, --files of 20 KiB, one --large, and those of the small real data folder. Contents come from the
file's id, so that no two are the same.
"""
import dataclasses
import hashlib
import json
import pathlib
import random
import sqlite3
import tarfile
import unicodedata
import uuid

ARCHIVE = pathlib.Path(__file__).resolve().parents[1] / "datadir.tar.gz"
SMALL, BLOCK = 20 << 10, 1 << 20

ODD = [
    "plain.txt",
    "two  spaces .txt",
    " leading space.txt",
    unicodedata.normalize("NFC", "Übergröße naïve.txt"),
    unicodedata.normalize("NFD", "Übergröße naïve.txt"),
    "🚀👩\u200d💻 emoji.png",
    "年度报告 ファイル.txt",
    "تقرير سنوي.pdf",
    "question?mark=1.txt",
    "hash#fragment.txt",
    "percent%20encoded.txt",
    "100% sure.txt",
    "%2Fslash%2f..txt",
    "a+b.txt",
    "back\\slash.txt",
    "semi;colon.txt",
    "this&that.txt",
    "key=value.txt",
    "it's 'quoted'.txt",
    'double "quotes".txt',
    "tab\there.txt",
    "line\nbreak.txt",
    "trailing dot.",
    "trailing space.txt ",
    "no extension",
    "<tag> a:b|c*d [1]{2}~^`$(x)`@!,.txt",
    "..hidden..",
    "語" * 65,  # 232 bytes with the id: fake-gcs-server adds up to 21 for a name of its own, and 255 is the most
]


@dataclasses.dataclass
class File:
    id: str
    name: str  # on the disk and in the stores: <id>_<original name>
    content: pathlib.Path
    bytes: int
    sha256: str


class Corpus:
    def __init__(self, folder, files, large):
        """Makes everything below a folder."""
        if len(set(ODD)) != 28 or len(set(unicodedata.normalize("NFC", n) for n in ODD)) != 27:
            raise ValueError("there are 28 odd names, two of which look the same")
        self.folder = folder
        (folder / "new").mkdir(parents=True)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder / "real", filter="data")
        self.random = random.Random(5)
        self.real = [self.known(f) for f in sorted((folder / "real/uploads").iterdir())]
        self.odd = [self.make(name, 1 + 997 * i) for i, name in enumerate(ODD)]
        self.small = [self.make(f"report {i}.txt", SMALL) for i in range(files)]
        self.large = [self.make("large.bin", large)] if large else []
        self.files = self.real + self.odd + self.small + self.large
        self.bytes = sum(f.bytes for f in self.files)

    def known(self, path):
        body = path.read_bytes()
        return File(path.name[:36], path.name, path, len(body), hashlib.sha256(body).hexdigest())

    def make(self, original, size):
        """A file whose content is random, and the same in every run."""
        id_ = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        path, digest = self.folder / "new" / id_, hashlib.sha256()
        with open(path, "wb") as f:
            for at in range(0, size, BLOCK):
                block = self.random.randbytes(min(BLOCK, size - at))
                digest.update(block)
                f.write(block)
        return File(id_, f"{id_}_{original}", path, size, digest.hexdigest())

    def database(self, path, paths):
        """webui.db of a deployment; paths gives file.path by the file's id."""
        source, target = sqlite3.connect(self.folder / "real/webui.db"), sqlite3.connect(path)
        source.backup(target)
        source.close()
        target.execute("PRAGMA journal_mode = DELETE")
        (user,) = target.execute("SELECT user_id FROM file ORDER BY id LIMIT 1").fetchone()
        with target:
            for f in self.real:
                if target.execute("UPDATE file SET path = ? WHERE id = ?", (paths[f.id], f.id)).rowcount != 1:
                    raise ValueError(f"no row of {f.name}")
            for f in self.odd + self.small + self.large:
                meta = {"name": f.name[37:], "content_type": "application/octet-stream", "size": f.bytes, "data": {}}
                target.execute("INSERT INTO file (id, user_id, filename, meta, created_at, updated_at, hash, data, path) VALUES (?, ?, ?, ?, 1, 1, NULL, ?, ?)",
                               (f.id, user, f.name[37:], json.dumps(meta), json.dumps({"status": "completed"}), paths[f.id]))
        target.close()
