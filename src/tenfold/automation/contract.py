"""What every mirror must pass, as plain functions.

Each check takes `make`, which gives an empty mirror or a new handle on the same one, and `see`, which looks at what it
shows as `MemoryMirror.shown` tells it. A check raises AssertionError when the implementation breaks its promise.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from tenfold.automation.memory import Exhibition
from tenfold.automation.mirror import Mirror, Origin, RunCopy, StagesCopy, VersionCopy
from tenfold.core.errors import SchemaError
from tenfold.registry.versions import Stage, StageEvent, Version
from tenfold.tracking.details import Details, File, Note, Point
from tenfold.tracking.runs import Run

Make = Callable[[], Mirror]
See = Callable[[], Exhibition]
HERE, THERE = Origin("shop", "home1"), Origin("shop", "home2")
HOSTILE = (
    "../auc",
    "/etc/passwd",
    "<script>alert(1)</script>",
    "a\0b",
    "x" * 300,
    "x" * 301,
    "",
    ".",
    "a//b",
    "ü 'q\"",
)
S = 1_000_000


def checks() -> list[Callable[[Make, See], None]]:
    """Return the checks of a `Mirror`."""
    return [
        knows_nothing_at_first,
        shows_a_run_under_way_then_finished,
        shows_a_failed_run,
        shows_curves_and_what_is_no_number,
        the_same_run_again_changes_nothing,
        shows_large_runs,
        hostile_names_stay_apart,
        tags_are_those_of_the_last_copy,
        homes_do_not_mix,
        needs_the_run_of_a_version,
        shows_a_version_once,
        shows_where_versions_stand,
        a_model_belongs_to_one_home,
        remembers_how_far_it_is,
        homes_send_at_once,
    ]


def knows_nothing_at_first(make: Make, see: See) -> None:
    assert make().positions(HERE, ["fraud"]) == {}
    assert see() == Exhibition({}, {}, {})


def shows_a_run_under_way_then_finished(make: Make, see: See) -> None:
    mirror = make()
    mirror.run(run("r1", status="running"))
    assert [item.status for item in see().runs.values()] == ["running"]
    mirror.run(run("r1", metrics={"auc": 0.5}, files={"tenfold/run.html": b"<p>", "files/a.txt": b"a"}))
    (shown,) = see().runs.values()
    assert (shown.status, shown.params, shown.metrics) == ("done", 2, {"auc": [(0, 0.5)]})
    assert shown.files == {"tenfold/run.html", "files/a.txt"}


def shows_a_failed_run(make: Make, see: See) -> None:
    make().run(run("r1", status="failed"))
    assert see().runs[f"{HERE.home}/r1/{S}"].status == "failed"


def shows_curves_and_what_is_no_number(make: Make, see: See) -> None:
    curve = [0.5, math.nan, 0.25, -1e300, 5e-324]
    ends = {"loss": 0.2, "nan": math.nan, "high": math.inf, "low": -math.inf}
    make().run(run("r1", curves={"loss": curve}, metrics=ends))
    shown = see().runs[f"{HERE.home}/r1/{S}"].metrics
    wanted = {"loss": [*enumerate(curve), (5, 0.2)], "nan": [(0, math.nan)]}
    wanted |= {"high": [(0, math.inf)], "low": [(0, -math.inf)]}
    assert repr(sorted(shown.items())) == repr(sorted(wanted.items()))


def the_same_run_again_changes_nothing(make: Make, see: See) -> None:
    copy = run("r1", curves={"loss": [0.5, 0.4]}, metrics={"auc": 0.9}, files={"files/a.txt": b"a"})
    make().run(copy)
    before = see()
    make().run(copy)
    assert see() == before


def shows_large_runs(make: Make, see: See) -> None:
    params = {f"p{place}": "v" * 7_000 for place in range(130)}
    tags = {f"t{place}": "v" * 9_000 for place in range(60)}
    make().run(run("r1", params=params, tags=tags, curves={"loss": [place / 7 for place in range(2_300)]}))
    shown = see().runs[f"{HERE.home}/r1/{S}"]
    assert (shown.params, len(shown.tags)) == (130, 60)
    assert shown.metrics["loss"][-1] == (2_299, 2_299 / 7)


def hostile_names_stay_apart(make: Make, see: See) -> None:
    named, tags = (
        dict.fromkeys(HOSTILE, 0.5),
        {name: name for name in (*HOSTILE, "mlflow.runName", "tenfold.key")},
    )
    make().run(run("r1", params={name: name for name in HOSTILE}, tags=tags, metrics=named))
    shown = see().runs[f"{HERE.home}/r1/{S}"]
    assert (shown.params, len(shown.metrics), len(shown.tags)) == (len(HOSTILE), len(HOSTILE), len(tags))


def tags_are_those_of_the_last_copy(make: Make, see: See) -> None:
    mirror, note = make(), Note(3 * S, "ann", "<b>look</b>")
    mirror.run(run("r1", tags={"team": "red"}))
    mirror.run(run("r1", tags={"team": "blue", "why": "more"}, notes=[note]))
    assert see().runs[f"{HERE.home}/r1/{S}"].tags == {"team": "blue", "why": "more"}


def homes_do_not_mix(make: Make, see: See) -> None:
    mirror = make()
    mirror.run(run("r1", metrics={"auc": 0.1}))
    mirror.run(run("r1", metrics={"auc": 0.2}, origin=THERE))
    mirror.run(run("r1", metrics={"auc": 0.3}, started=2 * S))
    assert sorted(item.metrics["auc"][0][1] for item in see().runs.values()) == [0.1, 0.2, 0.3]


def needs_the_run_of_a_version(make: Make, see: See) -> None:
    _refused(lambda: make().version(version(1)))
    assert not see().versions


def shows_a_version_once(make: Make, see: See) -> None:
    _with_versions(make(), 2)
    make().version(version(1))
    shown = see().versions
    assert {place: item.run for place, item in shown.items()} == {
        ("fraud", number): f"{HERE.home}/r{number}/{S}" for number in (1, 2)
    }


def shows_where_versions_stand(make: Make, see: See) -> None:
    mirror = make()
    _with_versions(mirror, 3)
    for copy, champion in (
        (stages(2, {1: Stage.PRODUCTION, 2: Stage.STAGING}), {"fraud": 1}),
        (stages(4, {1: Stage.ARCHIVED, 2: Stage.PRODUCTION}), {"fraud": 2}),
        (stages(6, {1: Stage.PRODUCTION, 2: Stage.ARCHIVED, 3: Stage.STAGING}), {"fraud": 1}),
        (stages(7, {1: Stage.ARCHIVED, 2: Stage.ARCHIVED, 3: Stage.STAGING}), {}),
    ):
        mirror.stages(copy)
        mirror.stages(copy)
        assert see().champions == champion
    assert [item.stage for _, item in sorted(see().versions.items())] == ["archived", "archived", "staging"]


def a_model_belongs_to_one_home(make: Make, see: See) -> None:
    mirror = make()
    _with_versions(mirror, 1)
    mirror.stages(stages(1, {1: Stage.PRODUCTION}))
    before = see().versions
    mirror.run(run("r1", origin=THERE))
    _refused(lambda: mirror.version(version(1, THERE)))
    _refused(lambda: mirror.stages(stages(9, {1: Stage.ARCHIVED}, THERE)))
    assert (see().versions, see().champions) == (before, {"fraud": 1})
    assert "stages/fraud" not in mirror.positions(THERE, ["fraud"])


def remembers_how_far_it_is(make: Make, see: See) -> None:
    mirror = make()
    _with_versions(mirror, 1)
    assert mirror.positions(HERE, ["fraud", "other"]).get("stages/fraud") == 0
    mirror.stages(stages(5, {1: Stage.STAGING}))
    assert see().versions["fraud", 1].stage == "staging"
    mirror.settle(HERE, 3)
    mirror.settle(THERE, 1)
    assert make().positions(HERE, ["fraud", "other"]) == {"runs": 3, "stages/fraud": 5}
    assert make().positions(THERE, []) == {"runs": 1}


def homes_send_at_once(make: Make, see: See) -> None:
    def send(origin: Origin) -> None:
        mirror = make()
        mirror.positions(origin, [])
        for place in range(3):
            mirror.run(run(f"r{place}", origin=origin, metrics={"auc": 0.5}))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send, (HERE, THERE)))
    assert len(see().runs) == 6


def run(
    run_id: str,
    *,
    status: str = "done",
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    curves: Mapping[str, Sequence[float]] | None = None,
    tags: Mapping[str, str] | None = None,
    notes: Sequence[Note] = (),
    files: Mapping[str, bytes] | None = None,
    origin: Origin = HERE,
    started: int = S,
) -> RunCopy:
    """Return a run to show."""
    points = {
        name: [Point(step, value, started + step) for step, value in enumerate(values)]
        for name, values in (curves or {}).items()
    }
    ended = None if status == "running" else started + 9 * S
    results = {name: values[-1] for name, values in (curves or {}).items()} | dict(metrics or {})
    told = Run(
        run_id, "train", "fraud", "trees", started, ended, status,
        dict(params or {"trees": 9, "name": "x"}), {} if ended is None else results,
        {"payments": 3}, {}, {"git": "1a2b"}, {}, None, "it broke" if status == "failed" else None,
    )  # fmt: skip
    attached = [File(name, "0" * 64, len(data), started) for name, data in (files or {}).items()]
    more = Details(points, attached, list(notes), dict(tags or {}), "")
    return RunCopy(origin, told, more, files or {})


def version(number: int, origin: Origin = HERE) -> VersionCopy:
    """Return a version to show, made by the run of its number."""
    info = {"metrics": {"auc": 0.5}, "rows": 9, "period": "a year"}
    told = Version("fraud", number, f"r{number}", "d", f"fraud/r{number}", S, Stage.NONE, info)
    return VersionCopy(origin, told, run(f"r{number}", origin=origin), {"model.bin": b"1"}, "<p>card</p>")


def stages(seq: int, stages: Mapping[int, Stage], origin: Origin = HERE) -> StagesCopy:
    """Return where the versions of a model stand."""
    event = StageEvent(seq, "fraud", 1, Stage.NONE, Stage.STAGING, S, "<b>ann", "why & how", {})
    return StagesCopy(origin, "fraud", seq, stages, [event, replace(event, version=2)])


def _with_versions(mirror: Mirror, count: int) -> None:
    for number in range(1, count + 1):
        mirror.run(run(f"r{number}"))
        mirror.version(version(number))


def _refused(act: Callable[[], None]) -> None:
    try:
        act()
    except SchemaError:
        return
    raise AssertionError("it was not refused")
