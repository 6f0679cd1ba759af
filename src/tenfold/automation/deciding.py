"""What is decided of a candidate on its way: from evidence that may be looked at after every request and every label.

The chance that a candidate that is no worse, fails no more often and is no slower than allowed is rolled back, however
often one looks, is at most ALPHA: the parts below add up to it. So it is where rows are independent. Where those of a day or
of an entity share what favours a version it is more, in simulations up to 36 %: docs/release.md says when, and what to do.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenfold.automation.evidence import betting, counted, interval
from tenfold.automation.pairs import Pairs
from tenfold.automation.release import Release
from tenfold.registry.rollouts import CANARY, SHADOW, Rollout
from tenfold.serving.seen.counters import Served

ALPHA = 0.05
WORSE, FAILS, SLOW = 0.049, 0.0005, 0.0005
"""How ALPHA is shared out; a version that fails or is slow shows it in many rows, so little is enough."""
MOST_FAILED = 0.001
"""The share of requests that a version may have no answer for."""
MOST_SLOW = 0.01
"""The share of requests that may take longer than the budget of a release."""
LARGE = 0.25
"""The share of the champion's loss from which on a margin says little."""
FEW = 20
"""Rows a candidate must have been asked about before time alone lets it go further."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a candidate when it is decided about.

    `here` is what it did since the present step began, `pairs` is None when only what it did is looked at.
    """

    served: Served
    here: Served
    budget: int | None
    pairs: Pairs | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do: "wait", "hold" (its time is over and something is missing), "advance", "promote" or "undo"; and why."""

    action: str
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def decide(rollout: Rollout, release: Release, facts: Facts, now: int) -> Decision:
    """Return what to do with an open rollout. What speaks against a candidate counts at all times, also while it is paused."""
    quality = _quality(facts.pairs, release.margin)
    evidence = {**_operation(facts), **quality}
    against = _against(evidence, facts)
    if against:
        return Decision("undo", against, evidence)
    if rollout.paused:
        return Decision("wait", "paused", evidence)
    action, why = _further(rollout, release, facts, evidence, now)
    return Decision(action, why, evidence)


def _further(
    rollout: Rollout, release: Release, facts: Facts, evidence: Mapping[str, Any], now: int
) -> tuple[str, str]:
    """Return whether a candidate that nothing speaks against goes on, and why (not)."""
    shown = is_shown(evidence)
    why = f"not worse than the champion {_told(evidence)}"
    waited = now - rollout.since
    if rollout.phase == SHADOW and release.canary:
        if shown:
            return "advance", why
        if waited < release.shadow_us:
            return "wait", f"in shadow {_told(evidence)}"
        if facts.here.asked < FEW:
            return "hold", _too_few(rollout, facts, "in shadow")
        return "advance", f"its time in shadow is over and nothing speaks against it {_told(evidence)}"
    if rollout.phase == CANARY:
        if waited < release.bake_us:
            return "wait", f"{rollout.where} for {release.bake}"
        if facts.here.asked < FEW:
            return "hold", _too_few(rollout, facts, rollout.where)
        if release.above(rollout.share):
            return "advance", f"{rollout.where} for {release.bake}, and nothing speaks against it"
    return _to_production(rollout, release, evidence, shown=shown, over=_is_over(rollout, release, waited))


def is_shown(evidence: Mapping[str, Any]) -> bool:
    """Return whether the outcomes show that a candidate is not worse by the margin."""
    return bool(evidence.get("not_worse", 0.0) >= 1 / ALPHA)


def _is_over(rollout: Rollout, release: Release, waited: int) -> bool:
    return rollout.phase == CANARY or waited >= release.shadow_us


def _to_production(
    rollout: Rollout, release: Release, evidence: Mapping[str, Any], *, shown: bool, over: bool
) -> tuple[str, str]:
    told = f"the outcomes do not show yet that it is not worse {_told(evidence)}"
    if shown and (rollout.approved or not release.approval):
        return "promote", f"not worse than the champion {_told(evidence)}"
    if shown:
        told = f"not worse than the champion {_told(evidence)}; it waits for a person"
        return "hold", f"{told}: {_ask('approve', rollout)}, or {_ask('undo', rollout)}"
    if rollout.approved and over:
        return "promote", f"approved by {rollout.approved}; {told}"
    if not over:
        return "wait", told
    told += "; it goes on by itself when enough outcomes have come; without them a person decides"
    return "hold", f"{told}: {_ask('approve', rollout)}, or {_ask('undo', rollout)}"


def _against(evidence: Mapping[str, Any], facts: Facts) -> str | None:
    """Return what speaks against a candidate strongly enough to end its rollout."""
    if evidence["fails"] >= 1 / FAILS:
        served = facts.served
        told = (
            "; the log of the server says what it raised, or that it did not return" if served.raised else ""
        )
        return (
            f"it raised for {served.raised:,} and gave no number for {served.no_number:,} of {served.asked:,} rows, more "
            f"than {MOST_FAILED:.1%} may fail{told}"
        )
    if evidence.get("slow", 0.0) >= 1 / SLOW and facts.budget is not None:
        return (
            f"{facts.served.over(facts.budget):,} of {facts.served.timed(facts.budget):,} rows took longer than {facts.budget / 1000:g} ms, "
            f"more than {MOST_SLOW:.0%} may"
        )
    if evidence.get("worse", 0.0) >= 1 / WORSE:
        return f"worse than the champion {_told(evidence)}"
    return None


def _operation(facts: Facts) -> dict[str, Any]:
    """Return the evidence of what a candidate did."""
    served = facts.served
    found: dict[str, Any] = {
        "asked": served.asked,
        "failed": served.failed,
        "fails": counted(served.failed, served.asked, MOST_FAILED),
    }
    if facts.budget is not None:
        slow, timed = served.over(facts.budget), served.timed(facts.budget)
        found |= {"timed": timed, "over_budget": slow, "slow": counted(slow, timed, MOST_SLOW)}
    return found


def _quality(pairs: Pairs | None, margin: float) -> dict[str, Any]:
    """Return the evidence of the outcomes: that the candidate is worse, and that it is not worse by the margin."""
    if pairs is None or len(pairs) < 2:
        return {"pairs": 0} if pairs is None else {"pairs": len(pairs), "no_number": pairs.left_out}
    worse = pairs.candidate - pairs.champion
    found = {
        "pairs": len(pairs),
        "no_number": pairs.left_out,
        "champion_loss": float(pairs.champion.mean()),
        "candidate_loss": float(pairs.candidate.mean()),
        "margin": margin,
        "bounded": pairs.largest is not None,
    }
    if pairs.largest is None:
        return found | _unbounded(pairs, margin)
    top = pairs.largest
    return found | {
        "worse": float(betting(worse, -top, top, 0.0)[-1]),
        "not_worse": float(betting(-worse, -top, top, -margin)[-1]),
    }


def _unbounded(pairs: Pairs, margin: float) -> dict[str, float]:
    """Return as evidence where the bounds of the mean difference lie; the margin is a share of the champion's loss."""
    low, _ = interval(pairs.candidate - pairs.champion, WORSE)
    _, high = interval(pairs.candidate - (1 + margin) * pairs.champion, ALPHA)
    return {"worse": 1 / WORSE if low[-1] > 0 else 0.0, "not_worse": 1 / ALPHA if high[-1] < 0 else 0.0}


def _too_few(rollout: Rollout, facts: Facts, where: str) -> str:
    asked = facts.here.asked
    return (
        f"asked about {asked:,} row{'s' * (asked != 1)} {where}, too few to go on: {FEW} are needed; it goes on by itself when "
        f"requests come; to end it: {_ask('undo', rollout)}"
    )


def _ask(what: str, rollout: Rollout) -> str:
    """Return the command by which a person decides."""
    return f"tenfold rollout {what} PROJECT.py {rollout.model}"


def _told(evidence: Mapping[str, Any]) -> str:
    """Return the outcomes in words."""
    if evidence["pairs"] < 2:
        return "(no outcomes of rows that both versions scored are final yet)"
    loss, by = evidence["champion_loss"], evidence["margin"]
    bounded = evidence["bounded"]
    said = evidence["not_worse"] >= 1 / ALPHA and bounded and by > LARGE * loss
    large = f", which says little of so large a margin: declare Release(margin=...) below {LARGE * loss:.2g}"
    return (
        f"(mean loss {evidence['candidate_loss']:.4g}, the champion's {loss:.4g}, on {evidence['pairs']:,} rows whose outcome is "
        f"final; that it is worse is {bet(evidence['worse'], WORSE, bounded=bounded)}; that it is worse by less than "
        f"{f'{by:g}' if bounded else f'{by:.2g} of that loss'} is {bet(evidence['not_worse'], ALPHA, bounded=bounded)}{large * said})"
    )


def bet(value: float, error: float, *, bounded: bool = True) -> str:
    """Return evidence in words: what a bet of 1 has become, which on average wins nothing unless the statement is true.

    Of numbers without a bound there are no bets, only bounds of the mean that lie on one side or not.

    Examples
    --------
    >>> bet(0.8123, 0.0005), bet(25.0, 0.05), bet(0.0, 0.05, bounded=False)
    ('not shown (a bet of 1 on it is worth 0.812; from 2,000 on it is)', 'shown (a bet of 1 on it is worth 25; from 20 on it is)', 'not shown')
    """
    enough = 1 / error
    shown = "shown" if value >= enough else "not shown"
    limit = f"{enough:,.0f}" if enough == round(enough) else f"{enough:,.3g}"
    return f"{shown} (a bet of 1 on it is worth {_short(value)}; from {limit} on it is)" if bounded else shown


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1e4 else f"10^{math.floor(math.log10(value))}"
