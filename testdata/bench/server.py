"""A PostgreSQL as it comes (fsync on) for measurements, and programs run with their time and peak memory taken."""
import os
import pathlib
import subprocess
import sys
import time
import urllib.parse

REPO = pathlib.Path(__file__).resolve().parents[2]
STARTER = REPO / "testdata/servers/postgres.sh"


class Failed(Exception):
    pass


class Usage:
    """What a program took: wall and processor seconds, and the largest resident memory in bytes."""

    def __init__(self, seconds, rusage):
        self.seconds, self.cpu, self.peak = seconds, rusage.ru_utime + rusage.ru_stime, rusage.ru_maxrss * 1024


def measure(command, env=None, accept=(0,), quiet=True):
    """Runs a program to its end; one that fails ends the benchmark with what it printed."""
    with open(os.devnull) as empty:
        began = time.monotonic()
        child = subprocess.Popen([str(c) for c in command], env=env, stdin=empty, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = child.stdout.read().decode(errors="replace")
        _, status, rusage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in accept:
        raise Failed(f"{command[0]} ended with {child.returncode}:\n{output[-3000:]}")
    if not quiet:
        print(output, file=sys.stderr)
    return Usage(seconds, rusage)


class Server:
    """PostgreSQL in a folder, started by servers/postgres.sh; databases belong to an ordinary role."""

    role = "openwebui"

    def __init__(self, folder, version):
        self.folder, self.version = folder, version
        self.env = {**os.environ, "OUTGROW_PG": version, "OUTGROW_PG_FSYNC": "1"}
        self.programs = pathlib.Path(self._starter("install"))
        self.url = urllib.parse.urlsplit(self._starter("start", folder))
        self.sql("postgres", f"CREATE ROLE {self.role} LOGIN")

    def _starter(self, *arguments):
        done = subprocess.run([STARTER, *arguments], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise Failed(f"{STARTER.name} {arguments[0]} failed for PostgreSQL {self.version}")
        return done.stdout.strip()

    def stop(self):
        self._starter("stop", self.folder)

    def address(self, database, role=None):
        host = f"{role or self.role}@{self.url.hostname}:{self.url.port}"
        return urllib.parse.urlunsplit((self.url.scheme, host, "/" + database, self.url.query, ""))

    def sql(self, database, *statements):
        arguments = [part for s in statements for part in ("-c", s)]
        done = subprocess.run([self.programs / "psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-d", self.address(database, "postgres"), *arguments],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    def create(self, database):
        self.sql("postgres", f"CREATE DATABASE {database} OWNER {self.role} TEMPLATE template0")
        self.settle()

    def drop(self, database):
        self.sql("postgres", f"DROP DATABASE {database}")
        self.settle()

    def settle(self):
        """Nothing of an earlier run is left to be written during the next one."""
        self.sql("postgres", "CHECKPOINT")
        os.sync()

    def psql(self, database, script):
        """The command that runs a script as the ordinary role over one connection."""
        return [self.programs / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", self.address(database), "-f", script]

    def schema(self, database, section):
        done = subprocess.run([self.programs / "pg_dump", "--schema-only", "--no-owner", f"--section={section}", "--schema=public",
                               "-d", self.address(database)], capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"pg_dump: {done.stderr.strip()}")
        return done.stdout.replace("CREATE SCHEMA public;", "")

    def tables(self, database):
        return self.sql(database, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                                  " ORDER BY pg_table_size(oid) DESC").split()
