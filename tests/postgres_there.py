"""A started Postgres: its own folder and socket, no network, nobody else; ended with the tests that started it."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

USERS = ("postgres", "nobody")
"""Who may run it when we are root, which Postgres refuses to be."""
QUICK = {
    "listen_addresses": "",
    "fsync": "off",  # what these tests kill is processes, never the machine
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
}
LONG = 20
"""Seconds."""


def programs():
    """Return the folder of Postgres' programs, or None and why there is none."""
    found = shutil.which("pg_ctl") or max(
        map(str, Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")), default=None
    )
    if found is None:
        return None, "Postgres is not installed: there is no pg_ctl"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return None, 'psycopg is not installed: pip install "tenfold[postgres]"'
    return Path(found).resolve().parent, ""


class Server:
    """A server that can be killed and started again, with what it stored."""

    def __init__(self, folder, **settings):
        self._programs, self._settings = folder, QUICK | settings
        self.folder = Path(tempfile.mkdtemp(prefix="tenfold-pg-"))
        self._as = {}
        if os.geteuid() == 0:
            user = next(name for name in USERS if _exists(name))
            shutil.chown(self.folder, user)
            self._as = {"user": user, "group": _group(user), "extra_groups": [], "env": _plain()}
        self._call(
            "initdb", "-D", "data", "-A", "trust", "-U", "tenfold", "-N", "-E", "UTF8", "--locale=C.UTF-8"
        )

    @property
    def url(self):
        return f"postgresql:///postgres?host={self.folder}&user=tenfold"

    @property
    def is_running(self):
        return (self.folder / "data/postmaster.pid").exists()

    def start(self):
        options = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in self._settings.items())
        given = f"-k {self.folder} {options}"
        self._call("pg_ctl", "-D", "data", "-l", "log", "-w", "-t", str(LONG), "-o", given, "start")
        return self

    def stop(self, mode="fast"):
        self._call("pg_ctl", "-D", "data", "-w", "-t", str(LONG), "-m", mode, "stop")

    def kill(self):
        """End it without a word, as a crash would, and wait until it is gone."""
        self.stop("immediate")

    def freeze(self):
        """Stop all of its processes where they are: it hangs until `thaw`."""
        for process in self._processes():
            os.kill(process, signal.SIGSTOP)

    def thaw(self):
        """Let all of its processes go on."""
        for process in self._processes():
            os.kill(process, signal.SIGCONT)

    def _processes(self):
        first = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text()
        return [first, *map(int, children.split())]

    def remove(self):
        if self.is_running:
            self.kill()
        shutil.rmtree(self.folder)

    def _call(self, program, *arguments):
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would stay open as long as the server
            stderr=subprocess.STDOUT,
            **self._as,
        )
        if done.returncode:
            log = self.folder / "log"
            raise AssertionError(f"{program} {arguments}: {log.read_text() if log.exists() else ''}")


def _exists(name):
    import pwd

    return any(entry.pw_name == name for entry in pwd.getpwall())


def _group(user):
    import pwd

    return pwd.getpwnam(user).pw_gid


def _plain():
    """Return an environment in which another user finds nothing of ours."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
