"""The mirror in memory passes every check, and a wrong one fails the check that names its fault."""

import pytest

from tenfold.automation import contract
from tenfold.automation.memory import MemoryMirror
from tenfold.automation.mirror import curves


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
def test_memory(check):
    mirror = MemoryMirror()
    check(lambda: mirror, mirror.shown)


def named(name):
    return next(check for check in contract.checks() if check.__name__ == name)


class Forgetful(MemoryMirror):
    def positions(self, origin, models):
        return {}


class Adding(MemoryMirror):
    """Keeps the points of every copy."""

    def run(self, copy):
        before = self._runs.get(copy.key)
        super().run(copy)
        if before is not None and before.status != "running":
            shown = self._runs[copy.key]
            for name in curves(copy):
                shown.metrics[name].extend(before.metrics[name])


class Mixing(MemoryMirror):
    def run(self, copy):
        super().run(copy)
        self._runs[copy.run.id] = self._runs.pop(copy.key)


class Greedy(MemoryMirror):
    """Takes the versions of every home."""

    def version(self, copy):
        self._owners.pop(copy.version.model, None)
        super().version(copy)


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Forgetful, "remembers_how_far_it_is"),
        (Adding, "the_same_run_again_changes_nothing"),
        (Mixing, "homes_do_not_mix"),
        (Greedy, "a_model_belongs_to_one_home"),
    ],
)
def test_a_wrong_mirror_fails(kind, check):
    mirror = kind()
    with pytest.raises(AssertionError):
        named(check)(lambda: mirror, mirror.shown)
