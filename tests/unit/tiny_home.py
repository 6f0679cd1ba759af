"""A home of the tiny project in which version 2 follows version 1 in production, and ways to damage it."""

import shutil
from pathlib import Path

import pytest

from tenfold import App, Platform, Project
from tenfold.core.clock import SharedClock
from tests.examples import tiny


def one_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a home with version 1 in production."""
    home = tmp_path_factory.mktemp("tiny") / "home"
    tiny.build(home)
    return home


def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the home."""
    home = one_version(tmp_path_factory)
    with opened(home) as app:
        app.promote(tiny.late_order, app.train(tiny.late_order).number)
    return home


def own_copy(built: Path, tmp_path: Path) -> Path:
    """Return a copy of the home for one test."""
    return shutil.copytree(built, tmp_path / "home")


def opened(home: Path, project: Project = tiny.project) -> App:
    return project.open(Platform(home=home, clock=SharedClock(home / "clock")))


def one_byte(folder: Path, name: str = "model.txt") -> None:
    """Flip one bit of a stored model."""
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def no_folder(folder: Path) -> None:
    """Remove a stored version."""
    shutil.rmtree(folder)
