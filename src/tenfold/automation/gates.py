"""The gate: a candidate and the champion on the same rows, judged by the release's checks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tenfold.core.times import iso
from tenfold.monitoring.checks import Check, Verdict, judge
from tenfold.training.compared import Compared, compared
from tenfold.training.folds import Split
from tenfold.training.metrics import METRICS, evaluate, paired_difference
from tenfold.training.model import Model
from tenfold.training.package import Package
from tenfold.training.rows import TrainingSet


def judge_candidate(
    gates: Sequence[Check], rows: TrainingSet, candidate: Package, champion: Package | None
) -> list[Verdict]:
    """Return one verdict per gate, on the same rows for both versions."""
    names = sorted({check.metric for check in gates})
    both = compared(rows, [package for package in (champion, candidate) if package is not None])
    own = evaluate(names, both.y, both.predictions[-1], both.groups)
    other = evaluate(names, both.y, both.predictions[0], both.groups) if champion is not None else {}
    verdicts = []
    for check in gates:
        verdict = judge(check, own[check.metric], other.get(check.metric))
        if check.kind == "beats_champion" and champion is not None and verdict.passed is not None:
            verdict = replace(verdict, why=f"{verdict.why}, {_interval(check, both)}")
        verdicts.append(verdict)
    return verdicts


def _interval(check: Check, both: Compared) -> str:
    """Return the 95 % interval of the gain over the champion, from resampling the rows with a fixed seed."""
    _, low, high = paired_difference(
        check.metric, both.y, *both.predictions, rng=np.random.default_rng(0), groups=both.groups
    )
    if not METRICS[check.metric].greater_is_better:
        low, high = -high, -low
    return f"95 % {low:+.4f} to {high:+.4f}"


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
    told = failed or [verdict.why for verdict in verdicts]
    return f"{'; '.join(told)} (test rows: {len(rows):,}, {iso(int(rows.at[0]))[:10]} to {iso(int(rows.at[-1]))[:10]})"
