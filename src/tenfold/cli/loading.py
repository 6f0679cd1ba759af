"""From `examples/flights/project.py`, optionally with `:name`, to the Project in it."""

import sys
import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tenfold.cli.extras import extra_of
from tenfold.core.errors import DefinitionError, MissingExtra, NotFound, TenfoldError

if TYPE_CHECKING:
    from tenfold.platform import Platform
    from tenfold.project import Project


def load(target: str) -> "Project":
    """Import a project's file, as part of its package when it is inside one, and return the project.

    Raises
    ------
    NotFound
        When there is no such file, or no project of that name in it.
    DefinitionError
        When the file cannot be imported, or holds none or several projects and no name says which.
    MissingExtra
        When it imports a package that is not there and that an extra brings.
    """
    from tenfold.project import Project

    path, name = _split(target)
    module = _module(path)
    found = {key: item for key, item in vars(module).items() if isinstance(item, Project)}
    if name:
        if name not in found:
            raise NotFound("project", name, found, within=f'"{path}"')
        return found[name]
    if not found:
        raise DefinitionError(
            f'"{path}" has no project. Define one, for example project = Project("shop", releases=[...]).'
        )
    if len({id(project) for project in found.values()}) > 1:
        names = ", ".join(sorted(found))
        raise DefinitionError(
            f'"{path}" has several projects: {names}. Say which, for example {path}:{min(found)}.'
        )
    return next(iter(found.values()))


def load_platform(target: str) -> "Platform":
    """Return what the project's file says about where it runs, as `platform = Platform(...)`; embedded when it says nothing.

    Home and clock are those of the command.
    """
    from tenfold.platform import Platform

    found = vars(_module(_split(target)[0])).get("platform")
    return found if isinstance(found, Platform) else Platform()


def _module(path: Path) -> ModuleType:
    if not path.is_file():
        siblings = sorted(item.name for item in path.parent.glob("*.py"))
        raise NotFound("file", path.name, siblings, within=f'folder "{path.parent}"')
    return _import(path.resolve(), path)


def _split(target: str) -> tuple[Path, str]:
    path, colon, name = target.rpartition(":")
    return (Path(path), name) if colon and path.endswith(".py") else (Path(target), "")


def _place(path: Path) -> tuple[Path, str]:
    """Return the folder to import from and the module's name there.

    Examples
    --------
    >>> _place(Path("/nowhere/shop.py"))
    (...Path('/nowhere'), 'shop')
    """
    root = path.parent
    while (root / "__init__.py").exists():
        root = root.parent
    return root, ".".join(path.relative_to(root).with_suffix("").parts)


def _import(path: Path, shown: Path) -> ModuleType:
    root, name = _place(path)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        module = import_module(name)
    except TenfoldError as error:
        _locate(error, path, shown)
        raise
    except Exception as error:
        wrong = _why_not(error, shown)
        _locate(wrong, path, shown, error)
        raise wrong from error
    taken = getattr(module, "__file__", None)  # modules built into Python have none
    if taken is None or Path(taken).resolve() != path:
        raise DefinitionError(
            f'"{shown}" cannot be imported as "{name}", because that is the name of {taken or "a module of Python or a package"}. '
            "Rename the file."
        )
    return module


def _why_not(error: Exception, shown: Path) -> TenfoldError:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if extra := extra_of(missing):
        return MissingExtra(f'"{shown}" imports {missing}, which', extra)
    return DefinitionError(f'"{shown}" cannot be imported: {type(error).__name__}: {error}.')


def _locate(error: Exception, path: Path, shown: Path, cause: Exception | None = None) -> None:
    """Add to an error the last line of the project's file that was being executed."""
    frames = traceback.extract_tb((cause or error).__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    if lines:
        error.add_note(f"       {shown}, line {lines[-1]}")
