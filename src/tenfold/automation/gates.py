"""The gate: a candidate and the champion on the same rows, judged by the release's checks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tenfold.automation.evidence import error_of
from tenfold.automation.slices import worse_slices
from tenfold.core.clock import Clock
from tenfold.core.times import iso
from tenfold.monitoring.checks import NO_CHAMPION, Check, Verdict, judge
from tenfold.monitoring.skew import Skew
from tenfold.training.compared import Compared, compared, numbered
from tenfold.training.folds import Split
from tenfold.training.losses import LARGEST, losses
from tenfold.training.metrics import METRICS, evaluate, metric_of, paired_difference
from tenfold.training.model import Model
from tenfold.training.package import Package
from tenfold.training.rows import TrainingSet

TIMED, ROUNDS = 500, 4
"""Single rows whose scoring is timed, and how often at most: what else a machine does makes some late, but not each time."""
SURE = 1.645
"""Standard errors to the one-sided 95 % bound of a mean."""
NOT_COMPARED = "not compared"
"""What a gate says where there is a champion that it cannot be compared with; why stands in a verdict of its own."""
FEWEST = 30
"""Rows below which the bound of a mean says nothing."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a gate judges: the model, the test rows, both versions (no champion where none can be asked), and where to ask.

    Parameters
    ----------
    unseen
        From when on rows are predicted that the champion cannot have learned from.
    rolled_out
        Whether shadow or canary compare the two versions after the gates.
    alone
        What a gate says that would compare, where there is no champion here.
    """

    model: Model
    rows: TrainingSet
    candidate: Package
    champion: Package | None
    clock: Clock
    skew: Callable[[], Skew]
    unseen: int = 0
    rolled_out: bool = False
    alone: str = NO_CHAMPION


def judge_candidate(gates: Sequence[Check], case: Case) -> list[Verdict]:
    """Return one verdict per gate, on the same rows for both versions, and one where a version gives no number for some."""
    every = compared(case.rows, [one for one in (case.champion, case.candidate) if one is not None])
    if left := len(every.y) - len(numbered(every.predictions[-1])):
        why = f"it gives no number for {left:,} of {len(every.y):,} test rows"
        return [Verdict("a number for every test row", passed=False, value=float(left), why=why)]
    case, both, told = _comparable(gates, case, every)
    return [*(_verdict(check, case, every, both) for check in gates), *told]


def _comparable(gates: Sequence[Check], case: Case, every: Compared) -> tuple[Case, Compared, list[Verdict]]:
    """Return what is left to compare on: a champion must not keep out its successor by having no number for some rows.

    Nor by rows that it learned from, which it knows by heart.
    """
    if case.champion is None:
        return case, every, []
    numbers = numbered(every.predictions[0])
    fine = numbers[case.rows.at[numbers] >= case.unseen]
    left, seen = len(every.y) - len(numbers), int((case.rows.at < case.unseen).sum())
    told = [_blank(left, len(every.y))] if left else []
    few = len(fine) < FEWEST if seen else not len(fine)
    if seen:
        told.append(_learned(gates, case, seen, few=few))
    if few:
        alone = replace(case, champion=None, alone=NOT_COMPARED)
        return alone, replace(every, predictions=every.predictions[1:]), told
    return (replace(case, rows=case.rows.take(fine)), every.take(fine), told) if told else (case, every, [])


def _blank(left: int, rows: int) -> Verdict:
    why = f"the champion gives no number for {left:,} of {rows:,} test rows, and is not compared on them"
    return Verdict("a champion that gives numbers", passed=True, value=float(left), why=why)


def _learned(gates: Sequence[Check], case: Case, seen: int, *, few: bool) -> Verdict:
    """Return what is said of rows that the champion learned from; undecided where nothing else would compare the versions."""
    why = f"the champion may have learned from {seen:,} of {len(case.rows.y):,} test rows, and is not compared on them"
    compares = few and any(check.kind in ("beats_champion", "not_worse") for check in gates)
    if few:
        why += f"; the others are too few to compare versions: {FEWEST} are needed"
    if compares and not case.rolled_out:
        why += ", which come with time, or a release that compares on requests: Release(shadow=...)"
    passed = None if compares and not case.rolled_out else True
    return Verdict("a champion that has not seen the rows", passed, float(seen), why)


def _verdict(check: Check, case: Case, every: Compared, both: Compared) -> Verdict:
    """Return the verdict of a gate: a candidate is judged on every row, and beside the champion on those of both."""
    if not check.metric:
        return _JUDGES[check.kind](check, case, both)
    if check.kind != "beats_champion" or case.champion is None:
        return judge(check, _value(check, every, -1), alone=case.alone)
    verdict = judge(check, _value(check, both, -1), _value(check, both, 0))
    if verdict.passed is None:
        return verdict
    return replace(verdict, why=f"{verdict.why}, {_interval(check, both)}")


def _value(check: Check, rows: Compared, version: int) -> float:
    return evaluate([check.metric], rows.y, rows.predictions[version], rows.groups)[check.metric]


def _interval(check: Check, both: Compared) -> str:
    """Return the 95 % interval of the gain over the champion, from resampling the rows with a fixed seed."""
    _, low, high = paired_difference(
        check.metric, both.y, *both.predictions, rng=np.random.default_rng(0), groups=both.groups
    )
    if not METRICS[check.metric].greater_is_better:
        low, high = -high, -low
    return f"95 % {low:+.4f} to {high:+.4f}"


def _not_worse(check: Check, case: Case, both: Compared) -> Verdict:
    """Judge whether a candidate is shown not to be worse by the margin, and whether it is shown to be in a slice."""
    if case.champion is None:
        return Verdict(check.text, True, None, case.alone)
    kind, metric = case.model.kind, case.model.metrics[0]
    champion, candidate = (losses(kind, metric, both.y, said, both.groups) for said in both.predictions)
    share = float(champion.mean()) if case.model.kind == "regression" else 1.0
    margin, worse = check.bound * share, candidate - champion
    if len(worse) < FEWEST:
        return Verdict(
            check.text,
            None,
            None,
            f"{len(worse)} test rows are too few to compare versions: {FEWEST} are needed, of a longer Model(test_window=...)",
        )
    mean, error = float(worse.mean()), error_of(worse, LARGEST.get(case.model.kind))
    bound = mean + SURE * error
    why = (
        f"mean loss {candidate.mean():.4g} against the champion's {champion.mean():.4g}: larger by {mean:+.4g}, with 95 % certainty "
        f"by at most {bound:+.4g}, {margin:.4g} allowed"
    )
    passed = True if bound < margin or not worse.any() else False if mean - SURE * error > margin else None
    if passed is None:
        why += (
            f"; {len(worse):,} rows are too few to tell: more would, of a longer Model(test_window=...), or a larger "
            "checks.not_worse(by=...)"
        )
    found = worse_slices(case.model, case.rows, worse, margin)
    told = "; ".join([why, *found.told])
    return Verdict(check.text, passed and not found.failed, mean, told)


def _latency(check: Check, case: Case, _: Compared) -> Verdict:
    """Time single rows, after one that warms up."""
    X = case.candidate.matrix(case.rows.columns)[:TIMED]
    case.candidate.predictor.predict(X[:1])
    took = _timed(case, X)
    for _round in range(ROUNDS - 1):
        if np.quantile(took, 0.99) > check.bound:
            took = np.minimum(took, _timed(case, X))
    slow = float(np.quantile(took, 0.99))
    why = f"99 % of {len(took)} single rows took at most {slow / 1000:.3g} ms, {check.bound / 1000:g} ms allowed"
    return Verdict(check.text, slow <= check.bound, slow, why)


def _timed(case: Case, X: np.ndarray) -> np.ndarray:
    """Return how many microseconds each row took."""
    took = []
    for place in range(len(X)):
        begun = case.clock.elapsed()
        case.candidate.predictor.predict(X[place : place + 1])
        took.append(case.clock.elapsed() - begun)
    return np.array(took)


def _size(check: Check, case: Case, _: Compared) -> Verdict:
    found = sum(len(data) for data in case.candidate.files().values())
    why = f"its files are {found / 1e6:.3g} MB, {check.bound / 1e6:g} MB allowed"
    return Verdict(check.text, found <= check.bound, float(found), why)


def _beats_baselines(check: Check, case: Case, _: Compared) -> Verdict:
    """Compare with the baselines of the version's own evaluation, which are measured on its test rows."""
    name, evaluation = case.model.metrics[0], case.candidate.manifest.evaluation
    mine = evaluation.get("metrics", {}).get(name, {}).get("value")
    known = {
        title: found.get(name)
        for title, found in evaluation.get("baselines", {}).items()
        if not title.startswith("champion")
    }
    judged = {title: value for title, value in known.items() if value is not None}
    if mine is None or not judged:
        return Verdict(check.text, None, mine, f"no baseline has a {name} to compare with")
    better = [title for title, value in judged.items() if not metric_of(name).gain(value, mine) > 0]
    told = ", ".join(f"{title} {value:.4g}" for title, value in judged.items())
    than = f", not better than {' and '.join(better)}" if better else ""
    return Verdict(check.text, not better, mine, f"{name} {mine:.4g}{than}; baselines: {told}")


def _no_skew(check: Check, case: Case, _: Compared) -> Verdict:
    found = case.skew()
    told = f"; {found.left:,} rows of versions that do not fit what is declared now were not compared"
    left = told if found.left else ""
    if not found.rows:
        return Verdict(check.text, True, 0.0, f"nothing was served online yet that could differ{left}")
    why = f"{found.mismatches:,} of {found.cells:,} served values differ from the lake"
    look = f"tenfold skew PROJECT.py {case.model.name}"
    names = f": {', '.join(found.features)}; see {look}" if found.features else ""
    return Verdict(check.text, not found.mismatches, float(found.mismatches), why + names + left)


_JUDGES: dict[str, Callable[[Check, Case, Compared], Verdict]] = {
    "not_worse": _not_worse,
    "latency": _latency,
    "size": _size,
    "beats_baselines": _beats_baselines,
    "no_skew": _no_skew,
}


def unseen(candidate: Package, model: Model, split: Split) -> list[Verdict]:
    """Return a failed verdict when the candidate learned from rows it is tested on; nothing when it did not."""
    last = candidate.manifest.period[1]
    if last + model.label.takes_us <= split.test[0]:
        return []
    why = f"it learned from rows up to {iso(last)[:10]}, among them rows it is tested on from {iso(split.test[0])[:10]}"
    return [Verdict("tested on rows it has not seen", passed=False, value=None, why=why)]


def passed(verdicts: Sequence[Verdict]) -> bool:
    """Return whether every gate passed; an undecided one did not."""
    return all(verdict.passed for verdict in verdicts)


def reason(verdicts: Sequence[Verdict], rows: TrainingSet) -> str:
    """Return in one sentence why a candidate was let in or refused."""
    failed = [verdict.why for verdict in verdicts if not verdict.passed]
    told = failed or [verdict.why for verdict in verdicts] or ["no gate is declared"]
    return f"{'; '.join(told)} (test rows: {len(rows):,}, {iso(int(rows.at[0]))[:10]} to {iso(int(rows.at[-1]))[:10]})"
