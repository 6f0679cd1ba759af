import io
import re
import subprocess
import sys

import pytest

from tenfold.core.clock import VirtualClock
from tenfold.ui import terminal
from tenfold.ui.markup import DASH

ROWS = [["[red]late[/red]", 1204, 0.5], ["b\x1b[31m\n!", 7, None]]


class Watch(VirtualClock):
    """A clock whose stopwatch moves only when told."""

    seconds = 0.0

    def elapsed(self):
        return int(self.seconds * 1e6)


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_elsewhere_a_table_is_plain_lines_that_are_never_wrapped():
    stream = io.StringIO()
    terminal.table(
        terminal.console(stream), "features", ["name", "rows", "share"], [*ROWS, ["x" * 300, 1, 1.0]]
    )
    title, head, late, b, long = stream.getvalue().splitlines()
    assert title == "features"
    assert re.split(" {2,}", head) == ["name", "rows", "share"]
    assert re.split(" {2,}", late) == ["[red]late[/red]", "1\u202f204", "0.5"]
    assert re.split(" {2,}", b) == ["b\ufffd[31m !", "7", DASH]
    assert late.index("1\u202f204") + 5 == b.index("7") + 1
    assert len(long) > 300
    assert "\x1b" not in stream.getvalue()


def test_an_empty_table_has_its_heads():
    stream = io.StringIO()
    terminal.table(terminal.console(stream), "", ["name", "rows"], [])
    assert stream.getvalue() == "name  rows\n"


def test_on_a_terminal_names_cannot_carry_colors(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Screen()
    terminal.table(terminal.console(stream), "features", ["name", "rows", "share"], ROWS)
    assert "[red]late[/red]" in stream.getvalue()
    assert "\x1b[31m" not in stream.getvalue()
    assert terminal.console(io.StringIO()).width == terminal.PLAIN_WIDTH


def test_progress_elsewhere_is_a_line_at_each_end():
    stream, clock = io.StringIO(), Watch(0)
    with terminal.Progress(clock, stream=stream) as progress:
        step = progress.step("read", total=2000)
        step.advance(2000)
        clock.seconds += 1.26
        progress.step("train")
        clock.seconds += 2
    assert stream.getvalue().splitlines() == [
        "read (2\u202f000) ...",
        "read: done in 1.3 s",
        "train ...",
        "train: done in 2.0 s",
    ]


def test_a_long_step_says_in_a_log_how_far_it_is_now_and_then():
    stream, clock = io.StringIO(), Watch(0)
    with terminal.Progress(clock, stream=stream) as progress:
        for total in (2000, None):
            step = progress.step("read", total=total)
            for _ in range(70):
                clock.seconds += 1
                step.advance(20, "day\n7")
    assert stream.getvalue().splitlines() == [
        "read (2\u202f000) ...",
        "read: 600 of 2\u202f000, 30% · day 7",
        "read: 1\u202f200 of 2\u202f000, 60% · day 7",
        "read: done in 70.0 s",
        "read ...",
        "read: 600 · day 7",
        "read: 1\u202f200 · day 7",
        "read: done in 70.0 s",
    ]


def fail(clock, stream):
    with terminal.Progress(clock, stream=stream) as progress:
        progress.step("[bold]read", total=10).advance(10)
        progress.step("train").advance(1, "trial 3, fold [b]2[/b]")
        raise ValueError("broken")


def test_a_failed_step_is_not_called_done():
    stream, clock = io.StringIO(), Watch(0)
    with pytest.raises(ValueError, match="broken"):
        fail(clock, stream)
    assert stream.getvalue().splitlines()[-1] == "train: stopped after 0.0 s"


def test_a_block_without_steps_says_nothing():
    stream = io.StringIO()
    with terminal.Progress(Watch(0), stream=stream):
        pass
    assert stream.getvalue() == ""


def test_progress_on_a_terminal_draws_what_is_done(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Screen(), Watch(0)
    with pytest.raises(ValueError, match="broken"):
        fail(clock, stream)
    drawn = stream.getvalue()
    assert "[bold]read" in drawn
    assert "10/10" in drawn
    assert "train: stopped after 0.0 s · trial 3, fold [b]2[/b]" in drawn


def test_importing_it_does_not_import_rich():
    code = "import sys, tenfold.ui.terminal; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
