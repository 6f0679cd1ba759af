"""The long proof itself: what it writes, and how it shows the smallest world that fails."""

import json

from tests.property.test_kernel_faults import FAULTS
from tests.prove.__main__ import main


def run(tmp_path, *more):
    code = main(["--seed", "3", "--workers", "1", "--out", str(tmp_path / "prove.json"), *more])
    return code, json.loads((tmp_path / "prove.json").read_text())


def test_it_counts_what_it_compared(tmp_path, capsys):
    code, found = run(tmp_path, "--cells", "1000")
    assert code == 0
    assert found["cells"] == sum(found["by"].values()) >= 1000
    assert (found["mismatches"], found["seed"]) == (0, 3)
    assert {"reference", "any order", "one call each"} <= found["by"].keys()
    assert "0 mismatches" in capsys.readouterr().out


def test_a_difference_is_shown_as_the_smallest_world_that_has_it(tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        FAULTS["asked a microsecond later"](patch)
        code, found = run(tmp_path, "--cells", "100")
    assert code == 1
    assert found["mismatches"] > 0
    shown = capsys.readouterr().err
    failure = shown[shown.index("cells differ with seed") :].split(
        "again: python -m tests.prove --only --seed"
    )[0]
    assert failure.count("'offset': ") <= 2, "the records of the smallest world"
    assert failure.count(": key ") == 1, "the questions"
    assert "view by" in failure
