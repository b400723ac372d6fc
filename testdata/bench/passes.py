"""Sync passes over the rows: one that finds nothing new, one that finds a hundredth of the rows changed or gone.

Before each of them, for the ratios: the full `migrate` of the same source, and `plan` of the rows, which reads the source
once and writes nothing. The source counts as stopped. The first pass after `migrate` compares with the target and is only told.
"""
import shutil
import sqlite3
import statistics

OF_MIGRATE, OF_SCAN, PEAK = 0.1, 2, 256e6


def median(used):
    return statistics.median(u.seconds for u in used)


def peak(used):
    return f"{max(u.peak for u in used) / 1e6:.0f} MB"


class Passes:
    def __init__(self, bench, server, size, runs):
        self.bench, self.table, self.server, self.size, self.runs = bench, bench.table, server, size, runs
        self.source = bench.work / "passes"

    def run(self):
        self.source.mkdir()
        shutil.copy(self.bench.source(self.size) / "webui.db", self.source)
        empty, filled = self.bench.fresh(self.server), self.bench.fresh(self.server)
        self.outgrow("migrate", filled)
        first = self.outgrow("sync", filled)
        self.server.sql(filled, "VACUUM")  # what the server does by itself within minutes of the load, during the passes
        full, scans, nothing, changed = [], [], [], []
        for n in range(self.runs):
            database = self.bench.fresh(self.server)
            full.append(self.outgrow("migrate", database))
            self.server.drop(database)
            scans.append(self.outgrow("plan", empty))
            nothing.append(self.outgrow("sync", filled))
            rows = self.change(n)
            changed.append(self.outgrow("sync", filled))
        self.table.line(f"migrate {self.size} of rows", f"{median(full):.1f} s, {peak(full)}")
        self.table.line("reading the rows once (plan)", f"{median(scans):.1f} s, {peak(scans)}")
        self.table.line("first pass, compares with the target", f"{first.seconds:.1f} s, {peak([first])}")
        for name, used in (("pass, nothing new", nothing), (f"pass, {rows:,} rows changed or gone", changed)):
            self.table.line(name, f"{median(used):.2f} s (cpu {statistics.median(u.cpu for u in used):.2f} s)")
            for what, other, most in (("migrate", full, OF_MIGRATE), ("reading once", scans, OF_SCAN)):
                ratios = [u.seconds / o.seconds for u, o in zip(used, other)]
                ratio = statistics.median(ratios)
                self.table.line(f"{name}: of {what}", f"{ratio:.3f} of {', '.join(f'{r:.3f}' for r in ratios)}", f"at most {most}", ratio <= most)
            most = max(u.peak for u in used)
            self.table.line(f"{name}: peak", f"{most / 1e6:.0f} MB", f"under {PEAK / 1e6:.0f} MB", most < PEAK)
        for database in (empty, filled):
            self.server.drop(database)
        shutil.rmtree(self.source)

    def outgrow(self, command, database):
        self.server.settle()
        return self.bench.outgrow(command, self.server, database, self.source, more=["--stopped"])

    def change(self, n):
        """A hundredth of the large tables' rows: four fifths are changed, one is gone. The file is left as a stopped app leaves it."""
        db = sqlite3.connect(self.source / "webui.db")
        rows = 0
        for table in ("chat", "chat_message"):
            rows += db.execute(f"UPDATE {table} SET updated_at = updated_at + 1 WHERE rowid % 125 = ?", (n,)).rowcount
        rows += db.execute("DELETE FROM chat_message WHERE rowid % 500 = ?", (100 + n,)).rowcount
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        return rows
