"""Which code runs: the package's version, and the git checkout that the project lies in."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import cache, partial
from pathlib import Path, PurePosixPath
from threading import Thread

LONGEST_DIFF = 500_000
"""Most characters of uncommitted code that a run keeps."""
_MARKS = ("pyvenv.cfg", "conda-meta")
"""What is in a folder of packages that others wrote."""

Code = Mapping[str, str]


def begun(declared: Iterable[type] = ()) -> Callable[[], Code]:
    """Begin to read which code runs, and return what waits for it: the code as it is now, however much later it is asked for.

    Examples
    --------
    >>> begun()() == code()
    True
    """
    found: Future[Code] = Future()
    Thread(target=_read, args=(list(declared), found), name="code", daemon=True).start()
    return found.result


def _read(declared: Iterable[type], found: Future[Code]) -> None:
    try:
        found.set_result(code(declared))
    except Exception as error:  # noqa: BLE001 - raised where it is asked for
        found.set_exception(error)


def code(declared: Iterable[type] = ()) -> Code:
    """Return which code runs: the package's version, and the git checkout that the project lies in.

    "git" is its commit and "diff" what was not committed: changes of tracked files, and new Python files, those that are
    loaded and those beside the project first.

    Parameters
    ----------
    declared
        Classes of the project, such as the schemas of its sources: the first that comes from a file says where the
        project lies. Without one, the checkout is that of tenfold; where there is none, no commit is named.

    Examples
    --------
    >>> sorted(code())[-1]
    'tenfold'
    """
    from importlib.metadata import version

    found = {"tenfold": version("tenfold")}
    folder = _folder(declared)
    commit, top = _git(folder, "rev-parse", "HEAD"), _git(folder, "rev-parse", "--show-toplevel")
    if not commit or not top:
        return found
    diff = _uncommitted(Path(top.strip()), folder)
    return found | {"git": commit.strip()} | ({"diff": diff} if diff else {})


def _uncommitted(top: Path, folder: Path) -> str:
    """Return the diff to the commit; a new file that is no Python may be data or a secret, and is only named."""
    parts, size, left = [], 0, 0
    for part in _parts(top, folder):
        if size > LONGEST_DIFF:
            left += 1
            continue
        text = part()
        parts.append(text)
        size += len(text)
    whole = "".join(parts)
    if size <= LONGEST_DIFF:
        return whole
    more = f" and {left:,} more new files" if left else ""
    return f"{whole[:LONGEST_DIFF]}\n... {size - LONGEST_DIFF:,} more characters{more} were not kept\n"


def _parts(top: Path, folder: Path) -> Iterator[Callable[[], str]]:
    """Yield what makes each part of the diff, so that what is not kept is not read."""
    yield lambda: _git(top, "diff", "HEAD") or ""
    listed = (_git(top, "ls-files", "--others", "--exclude-standard", "-z") or "").split("\0")
    of_others = _of_others(top, _ancestors(top, folder))
    within = {name: of_others(PurePosixPath(name).parent) for name in listed if name}
    new = [name for name, other in within.items() if other is None]
    python = [name for name in new if name.endswith(".py")]
    loaded = _loaded() if python else frozenset()
    for name in sorted(python, key=partial(_order, top, folder, loaded)):
        yield partial(_added, top, name)
    for name in new:
        if not name.endswith(".py"):
            yield partial(_named, name)
    for other, count in Counter(filter(None, within.values())).items():
        yield partial(_named, f"{other}, a folder of packages with {count:,} files")


def _ancestors(top: Path, folder: Path) -> frozenset[PurePosixPath]:
    """Return the folders that the project lies in, from the checkout's on: they are no packages of others."""
    inner = PurePosixPath(folder.relative_to(top).as_posix()) if folder.is_relative_to(top) else None
    return frozenset([PurePosixPath(), *([inner, *inner.parents] if inner else [])])


def _of_others(top: Path, mine: frozenset[PurePosixPath]) -> Callable[[PurePosixPath], PurePosixPath | None]:
    """Return what finds the outermost folder round one that holds packages of others, None when there is none."""

    @cache
    def found(folder: PurePosixPath) -> PurePosixPath | None:
        if folder in mine:
            return None
        marked = folder.name == "site-packages" or any(os.path.exists(top / folder / mark) for mark in _MARKS)
        return found(folder.parent) or (folder if marked else None)

    return found


def _loaded() -> frozenset[str]:
    """Return the files of all modules that are loaded."""
    modules = list(sys.modules.values())
    files = [getattr(module, "__dict__", {}).get("__file__") for module in modules]
    return frozenset(_resolved(file) for file in files if isinstance(file, str))


@cache  # a process has thousands of modules, and they stay where they are
def _resolved(file: str) -> str:
    return str(Path(file).resolve())


def _order(top: Path, folder: Path, loaded: frozenset[str], name: str) -> tuple[bool, bool, int, str]:
    file = top / name
    return str(file) not in loaded, not file.is_relative_to(folder), name.count("/"), name


def _added(top: Path, name: str) -> str:
    """Return a new file as git's diff shows it; one that is no text is only named, and so is a link: it may lead to a secret."""
    file = top / name
    try:
        if file.is_symlink() or file.stat().st_size > LONGEST_DIFF:
            return _named(name)
        text = file.read_bytes().decode()
        mode = "100755" if file.stat().st_mode & 0o100 else "100644"
    except (OSError, UnicodeDecodeError):
        return _named(name)
    if "\0" in text:
        return _named(name)
    head = f"diff --git a/{name} b/{name}\nnew file mode {mode}\n"
    if not text:
        return head
    lines = text.removesuffix("\n").split("\n")
    count = "1" if len(lines) == 1 else f"1,{len(lines)}"
    end = "" if text.endswith("\n") else "\\ No newline at end of file\n"
    added = "".join(f"+{line}\n" for line in lines)
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +{count} @@\n{added}{end}"


def _named(name: str) -> str:
    return f"new file, not kept: {name}\n"


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says; None when it is not there or says no."""
    command = ["git", *arguments]
    try:
        out = subprocess.run(command, cwd=folder, capture_output=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return None
    return out.stdout.decode(errors="replace") if out.returncode == 0 else None


def _folder(declared: Iterable[type]) -> Path:
    modules = [sys.modules.get(kind.__module__) for kind in declared]
    files = [file for module in modules if (file := getattr(module, "__file__", None))]
    return Path(files[0] if files else __file__).resolve().parent
