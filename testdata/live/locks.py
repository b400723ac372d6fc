"""Which locks a process holds on the databases of a data folder, looked at in /proc/locks every few milliseconds."""
import os
import pathlib
import threading
import time

EVERY = 0.01
# Bytes of the -shm file that SQLite locks in WAL mode: a writer's, the checkpointer's, recovery's. From 123 on come
# readers' marks, for which no writer waits.
SHM_WRITER, SHM_READERS = 120, 123


class Locks(threading.Thread):
    """Watches until stop(). longest maps a database's name to the seconds for which a lock that writers wait for was held
    at a stretch; to within two looks."""

    def __init__(self, data_dir, pid):
        super().__init__(daemon=True)
        data_dir, self.pid, self.longest, self.looks, self.ended = pathlib.Path(data_dir), str(pid), {}, 0, threading.Event()
        self.names = [data_dir / "webui.db-shm", data_dir / "vector_db" / "chroma.sqlite3"]

    def blocking(self):
        """The names of the databases on which the process holds a lock that the application's writers wait for."""
        inodes = {}
        for name in self.names:
            try:
                inodes[str(os.stat(name).st_ino)] = name.name
            except FileNotFoundError:
                pass
        with open("/proc/locks") as locks:
            for line in locks:
                fields = line.split()
                # "1: POSIX ADVISORY READ 4242 fe:00:1234 120 120"; one that waits has "->" as its second field.
                if len(fields) < 8 or fields[1] == "->" or fields[4] != self.pid:
                    continue
                name = inodes.get(fields[5].rsplit(":", 1)[1])
                shm = name == "webui.db-shm"
                if name and not (shm and (int(fields[6]) >= SHM_READERS or int(fields[6]) < SHM_WRITER)):
                    yield name

    def run(self):
        since = {}
        while not self.ended.is_set():
            now, held = time.monotonic(), set(self.blocking())
            self.looks += 1
            since = {name: since.get(name, now) for name in held}
            for name, began in since.items():
                self.longest[name] = max(self.longest.get(name, 0), now - began + EVERY)
            self.ended.wait(EVERY)

    def stop(self):
        self.ended.set()
        self.join()
        return self.longest
