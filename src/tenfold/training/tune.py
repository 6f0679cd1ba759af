"""The search for parameters: rounds of trials, the same for any number of processes, each round one durable step.

What a round tries depends on the seed and on finished rounds only. It is asked of an Optuna study that is made anew
from the trials so far; its trials are judged side by side and told in order. A trial that is worse after a fold than
the median of earlier rounds after that fold is pruned: earlier rounds are finished, so timing has no say.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from tenfold.core.errors import DefinitionError, MissingExtra
from tenfold.training.metric import Metric
from tenfold.training.metrics import metric_of
from tenfold.training.pool import Judges
from tenfold.training.space import Range, Tune
from tenfold.training.trials import Judged

ROUND = 8
"""Trials that are chosen together, before any of them is known: enough for processes to wait little at a round's end."""
ENOUGH = 4
"""Trials of earlier rounds that must have come as far before one is pruned."""

Trial = dict[str, Any]
"""`{"number", "params", "values", "value", "state"}` and, of what was tested, `"folds"`; `"error"` when it failed."""


def rounds(tune: Tune) -> int:
    """Return how many rounds a search has."""
    return math.ceil(tune.trials / ROUND)


def play_round(
    tune: Tune,
    place: int,
    done: Sequence[Trial],
    metric: str,
    folds: int,
    judges: Judges,
    tell: Callable[[int, str], object],
) -> list[Trial]:
    """Return the trials of one round, in order.

    `tell` hears how many more folds are done, or not worth it, as it happens, and which trial and fold that is.
    """
    numbers = range(place * ROUND, min((place + 1) * ROUND, tune.trials))
    found = metric_of(metric)
    params = _ask(tune, place, done, len(numbers), found)
    trials = [_fresh(number, chosen) for number, chosen in zip(numbers, params, strict=True)]
    limits = [_limit(done, fold, found) for fold in range(folds)]
    waiting: dict[Future[Judged], Trial] = {judges.ask(trial["params"], 0): trial for trial in trials}
    while waiting:
        for future in judges.ready(waiting):
            trial = waiting.pop(future)
            _take(trial, future.result(), metric)
            at = f"trial {trial['number']}, fold {len(trial['values'])} of {folds}"
            if _goes_on(trial, limits, folds, found):
                waiting[judges.ask(trial["params"], len(trial["values"]))] = trial
                tell(1, at)
            else:
                tell(1 + folds - len(trial["values"]), at)
    return trials


def best_or_none(trials: Sequence[Trial], metric: str) -> Trial | None:
    """Return the trial with the best value, the first of equals; None when none has one."""
    found = metric_of(metric)
    usable = [trial for trial in trials if trial["state"] == "done" and trial["value"] is not None]
    return min(usable, key=lambda trial: (loss(found, trial["value"]), trial["number"]), default=None)


def best_of(trials: Sequence[Trial], metric: str) -> Trial:
    """Return the trial with the best value; DefinitionError says why there is none."""
    best = best_or_none(trials, metric)
    if best is None:
        errors = [trial.get("error") for trial in trials]
        notes = [fold["note"] for trial in trials for fold in trial["folds"]]
        why = next(filter(None, [*errors, *notes]), f"{metric} could not be computed on any fold")
        raise DefinitionError(f"none of {len(trials)} trials can be judged: {why}.")
    return best


def loss(metric: Metric, value: float) -> float:
    """Return a number that is smaller the better a metric's value is."""
    if metric.target is not None:
        return abs(value - metric.target)
    return -value if metric.greater_is_better else value


def _fresh(number: int, params: Mapping[str, Any]) -> Trial:
    return {
        "number": number,
        "params": dict(params),
        "values": [],
        "value": None,
        "state": "done",
        "folds": [],
    }


def _take(trial: Trial, judged: Judged, metric: str) -> None:
    """Add what a fold said to its trial."""
    trial["values"].append(judged.metrics.get(metric))
    trial["folds"].append({"metrics": dict(judged.metrics), "note": judged.note})
    trial["value"] = _mean(trial["values"])
    if judged.error is not None:
        trial |= {"state": "failed", "value": None, "error": judged.error}


def _goes_on(trial: Trial, limits: Sequence[float], folds: int, metric: Metric) -> bool:
    """Return whether a trial is to be tested on its next fold; one that is too bad is pruned here."""
    tested = len(trial["values"])
    if trial["state"] != "done" or tested >= folds:
        return False
    if trial["value"] is not None and loss(metric, trial["value"]) > limits[tested - 1]:
        trial["state"] = "pruned"
        return False
    return True


def _limit(done: Sequence[Trial], fold: int, metric: Metric) -> float:
    """Return the median loss of earlier trials after a fold; infinite while there are few."""
    after = [_mean(trial["values"][: fold + 1]) for trial in done if len(trial["values"]) > fold]
    losses = [loss(metric, value) for value in after if value is not None]
    return float(np.median(losses)) if len(losses) >= ENOUGH else math.inf


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _ask(tune: Tune, place: int, done: Sequence[Trial], count: int, metric: Metric) -> list[dict[str, Any]]:
    """Return what a round tries."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingExtra("Tune", "tune") from error

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it says more than we would of each study
    seed = int(np.random.SeedSequence([tune.seed, place]).generate_state(1)[0])
    space = {name: _distribution(given) for name, given in tune.space.items()}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), direction="minimize")
    study.add_trials([_told(trial, space, metric) for trial in done])
    return [dict(study.ask(space).params) for _ in range(count)]


def _told(trial: Trial, space: Mapping[str, Any], metric: Metric) -> Any:
    """Return a finished trial as Optuna knows it."""
    from optuna.trial import TrialState, create_trial

    value = None if trial["value"] is None else loss(metric, trial["value"])
    given = {"params": trial["params"], "distributions": space}
    if trial["state"] == "pruned" and value is not None:
        steps = {len(trial["values"]) - 1: value}
        return create_trial(state=TrialState.PRUNED, intermediate_values=steps, **given)
    if trial["state"] == "failed" or value is None:
        return create_trial(state=TrialState.FAIL, **given)
    return create_trial(state=TrialState.COMPLETE, value=value, **given)


def _distribution(given: Range) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(given, list):
        return CategoricalDistribution(given)
    low, high, log = given[0], given[1], len(given) == 3
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
