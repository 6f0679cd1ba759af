"""Buckets of rates: what they grant, and that they need room only once."""

import os
from errno import ENOSPC

import pytest

from tenfold.core.clock import SystemClock
from tenfold.core.errors import DefinitionError, Unavailable
from tenfold.serving.door.limits import Limits, Rate
from tests.unit.ticking import Ticking


def test_buckets_fill_with_time_and_hold_no_more_than_the_rate(tmp_path):
    clock = Ticking()
    limits = Limits(tmp_path / "limits", clock)
    rate = Rate.of("10/s")

    def granted(tries):
        return sum(not limits.wait("a", rate) for _ in range(tries))

    assert granted(30) == 10
    assert 0 < limits.wait("a", rate) <= 0.1
    clock.at += 250_000
    assert granted(30) == 2
    clock.at += 10**12
    assert granted(30) == 10
    clock.at = 5  # the machine was started again
    assert granted(30) == 10
    assert (tmp_path / "limits").stat().st_size < 1_100_000


def test_a_flood_of_callers_takes_no_room_and_none_from_others(tmp_path):
    clock = Ticking()
    limits = Limits(tmp_path / "limits", clock)
    rate, slow = Rate.of("1000/s"), Rate.of("1/h")
    assert not limits.wait("mine", slow)
    for caller in range(20_000):
        clock.at += 100
        limits.wait(f"caller {caller}", rate)
    assert limits.wait("mine", slow) > 3_000
    assert (tmp_path / "limits").stat().st_size < 1_100_000


@pytest.mark.parametrize("text", ["", "100", "0/s", "-1/s", "1/y", "1.5/s", "100/s "])
def test_a_rate_that_is_none_is_refused(text):
    with pytest.raises(DefinitionError, match="is not a rate"):
        Rate.of(text)


def test_all_of_the_file_has_room_so_that_a_full_disk_kills_no_server(tmp_path):
    path = tmp_path / "limits"
    Limits(path, SystemClock())
    size = path.stat().st_size
    assert path.stat().st_blocks * 512 >= size
    path.unlink()
    with path.open("wb") as file:
        file.truncate(size)  # as earlier versions made it
    Limits(path, SystemClock())
    assert path.stat().st_blocks * 512 >= path.stat().st_size


def test_where_there_is_no_room_for_it_that_is_said_at_the_start(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Unavailable, match="the disk is full"):
        Limits(tmp_path / "limits", SystemClock())
