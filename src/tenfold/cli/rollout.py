"""A candidate on its way to Production: show, approve, pause, resume, undo."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Where, as_json, by, model_of, on_project
from tenfold.cli.output import answer, line, minute
from tenfold.cli.releases import decision
from tenfold.core.errors import DefinitionError

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.automation.askable import Standing
    from tenfold.automation.audit import Decision
    from tenfold.project import App
    from tenfold.registry.rollouts import Rollout
    from tenfold.training.model import Model


@click.group()
def rollout() -> None:
    """Show a candidate on its way to Production, or decide about it: approve, pause, resume, undo.

    Each takes PROJECT, and MODEL where there are several.
    """


@rollout.command()
@on_project
@click.argument("model", required=False)
@as_json
def show(where: Where, model: str | None, *, as_json: bool) -> None:
    """Show where the newest rollout of MODEL stands, and what the evidence says now."""
    with where.read() as app:
        chosen = _model(app, model)
        seen, production = app.rollout(chosen).show(), app.registry.production(chosen.name)
        number = None if production is None else production.number
        last = None if seen is None else last_decided(app, seen.rollout)
        told = [] if seen is None else _told(seen, last, number)
        if seen is not None and seen.rollout.is_open:
            told += [["nobody moves it on", text] for text in missing(where, app, "controller")]
        rolled = None if seen is None else standing(where, seen, last) | {"now": _now(seen)}
        document = {"model": chosen.name, "production": number, "rollout": rolled}

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        if not told:
            click.echo(f"{chosen.name} has had no rollout yet")
            return
        cells = [[name, where.named(text)] for name, text in told]
        table(console, f"Rollout of {chosen.name}", ["what", "value"], cells)

    answer(document, draw, as_json=as_json)


def _model(app: "App", name: str | None) -> "Model":
    """Return the model whose rollout is meant.

    Raises
    ------
    DefinitionError
        When it is not declared any more and has one that is open: without its release, nobody can look at it or end it.
    """
    declared = [release.model.name for release in app.project.releases]
    found = None if name is None or name in declared else app.rollouts.open(name)
    if found is None:
        return model_of(app, name)
    raise DefinitionError(
        f'model "{name}" is not declared any more, so nobody moves on its version {found.candidate}, in {found.where} beside '
        f"version {found.champion}. Declare the model and its release again, under this name, to look at it or to end it: "
        f"tenfold rollout show|undo PROJECT.py {name}."
    )


def _add(name: str, text: str, done: str, follows: str) -> None:
    """Add a command by which a person decides; `follows` says what comes of it."""

    def command(where: Where, model: str | None, *, why: str, by: str, as_json: bool) -> None:
        with where.open() as app:
            rolling = app.rollout(_model(app, model))
            act: Callable[..., Rollout] = getattr(rolling, name)
            after = act(by=by, why=why)
            ends = ending(rolling.show(outcomes=False))
        stands = "" if after.where == done else f", {after.where}"
        comes = follows.format(target=where.target, model=after.model, champion=after.champion)
        if ends is not None:
            comes = f"it is undone all the same, as soon as a controller looks: {where.named(ends)}"
        text = f"{after.model} version {after.candidate}: {done}{stands}; {comes}"
        document = {"model": after.model, "rollout": _rollout(after), "follows": comes}
        answer(document, line(text), as_json=as_json)

    command.__doc__ = text
    why = click.option("--why", default="asked for", show_default=True, help="The reason; for the audit log.")
    model = click.argument("model", required=False)
    rollout.command(name)(on_project(model(why(by(as_json(command))))))


_add(
    "approve",
    "Agree to the promotion of the candidate of MODEL.",
    "approved",
    "it is promoted when its steps are over and nothing speaks against it",
)
_add(
    "pause",
    "Let the candidate of MODEL go no further.",
    "paused",
    "it goes no further until: tenfold rollout resume {target} {model}",
)
_add(
    "resume",
    "Let the candidate of MODEL go on; the time of its present step begins again.",
    "resumed",
    "the time of this step begins again",
)
_add(
    "undo",
    "End the rollout of MODEL, or take back its promotion; the champion answers everything.",
    "undone",
    "version {champion} answers everything",
)


STANDS = {"worker": "states stand still", "controller": "candidates and schedules stand still"}
"""What comes of it when a process of a kind is not at work."""


def missing(where: Where, app: "App", *kinds: str) -> list[str]:
    """Return which kinds of processes are not at work on a home, and what comes of it.

    With a state elsewhere they may be on any machine, so nothing is said then.
    """
    from tenfold.sources.locked import at_work

    return [
        f"No {kind} is at work on this home, so {STANDS[kind]}: tenfold {kind} {where.target}, or tenfold run"
        for kind in kinds
        if app.platform.state is None and not at_work(where.home / "running", kind)
    ]


def last_decided(app: "App", found: "Rollout") -> "Decision | None":
    """Return what was decided last of a rollout."""
    told = app.audit.list(f"{found.model}/{found.candidate}", "rollout", 1)
    return told[-1] if told else None


def stands(found: "Rollout") -> str:
    """Return in words where a rollout stands."""
    from tenfold.registry.rollouts import DONE

    notes = [
        *(["paused"] if found.paused else []),
        *([f"approved by {found.approved}"] if found.approved else []),
        *(["held, as its time is over and something is missing"] if found.held else []),
    ]
    return ", ".join(["promoted" if found.phase == DONE else found.where, *notes])


def ending(seen: "Standing | None") -> str | None:
    """Return why the next look at a rollout that is under way undoes it, None where it does not."""
    now = None if seen is None else seen.decision
    return now.why if now is not None and now.action == "undo" else None


def to_do(seen: "Standing") -> str:
    """Return what a person can do about a rollout."""
    from tenfold.registry.rollouts import DONE, UNDONE

    found = seen.rollout
    name = found.model
    if found.phase == UNDONE:
        return f"mend what is said of it, then train another: tenfold train PROJECT.py {name}"
    if found.phase == DONE:
        return f"to take it back while it is in production: tenfold rollout undo PROJECT.py {name}"
    if ending(seen) is not None:
        return f"nothing, it is undone as soon as a controller looks; at once: tenfold rollout undo PROJECT.py {name}"
    if seen.unasked is not None and seen.decision is not None and seen.decision.action == "promote":
        return f"nothing, it is promoted as soon as a controller looks: tenfold rollout pause|undo PROJECT.py {name}"
    acts = ["resume" if found.paused else "pause", *([] if found.approved else ["approve"]), "undo"]
    need = (
        "it goes on when what is missing comes, or as a person decides"
        if found.held
        else "nothing, unless a person decides"
    )
    return f"{need}: tenfold rollout {'|'.join(acts)} PROJECT.py {name}"


def _told(seen: "Standing", last: "Decision | None", production: int | None) -> list[list[str]]:
    """Return the rows of a table; the version in production may be another one than the rollout left, after a rollback."""
    found, now = seen.rollout, seen.decision
    rows = [
        ["candidate", f"version {found.candidate}"],
        ["champion", f"version {found.champion}"],
        ["in production", "none" if production is None else f"version {production}"],
        *([] if seen.unasked is None else [["the champion cannot be asked", seen.unasked]]),
        ["where", stands(found)],
        ["since", minute(found.since)],
    ]
    if now is not None:
        bounded = now.evidence.get("bounded", True)
        rows += [["now", f"{now.action}: {now.why}"]]
        rows += [_evidence(*item, bounded=bounded) for item in now.evidence.items() if item[0] != "bounded"]
    if last is not None:
        rows += [["last decided", f"{minute(last.at)} {last.decision} by {last.by}: {last.why}"]]
    return [*rows, ["to do", to_do(seen)]]


def _evidence(name: str, value: Any, *, bounded: bool) -> list[str]:
    """Return a row about evidence: what is shown, or what was counted or measured."""
    from tenfold.automation.deciding import ALPHA, FAILS, MOST_FAILED, MOST_SLOW, SLOW, WORSE, bet

    shown = {
        "fails": (f"more than {MOST_FAILED:.1%} of rows fail", FAILS),
        "slow": (f"more than {MOST_SLOW:.0%} of rows are slow", SLOW),
        "worse": ("it is worse", WORSE),
        "not_worse": ("it is worse by less than the margin, or better", ALPHA),
    }
    counted = {
        "asked": "rows it was asked about",
        "failed": "of them without a number",
        "timed": "of them while what a row may take was as now",
        "over_budget": "of these slow",
        "pairs": "rows whose outcome is final",
        "champion_loss": "mean loss of the champion",
        "candidate_loss": "mean loss of the candidate",
    }
    if name in shown:
        told, error = shown[name]
        return [
            f"is it shown that {told}?",
            bet(float(value), error, bounded=bounded or name in ("fails", "slow")),
        ]
    return [counted.get(name, name), _number(value)]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _rollout(found: "Rollout") -> dict[str, Any]:
    from tenfold.core.times import iso

    return {
        "id": found.id,
        "candidate": found.candidate,
        "champion": found.champion,
        "phase": found.phase,
        "share": found.share,
        "begun": iso(found.begun),
        "since": iso(found.since),
        "paused": found.paused,
        "approved": found.approved,
        "held": found.held,
        "seq": found.seq,
    }


def standing(where: Where, seen: "Standing", last: "Decision | None") -> dict[str, Any]:
    """Return a rollout as JSON values, with what was decided last of it and what a person can do."""
    return {
        **_rollout(seen.rollout),
        "champion_unasked": seen.unasked,
        "last_decision": None if last is None else decision(last),
        "to_do": where.named(to_do(seen)),
    }


def _now(seen: "Standing") -> dict[str, Any] | None:
    now = seen.decision
    return None if now is None else {"action": now.action, "why": now.why, "evidence": dict(now.evidence)}
