"""The page of a version: a model card, one file that loads nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.ui.charts import Node, flow
from tenfold.ui.documents import gain, settings
from tenfold.ui.evaluated import fold_away, main_metric, moment, sections, shown, uncommitted
from tenfold.ui.markup import Html, join, number, tag
from tenfold.ui.report import Section, Tile, badge, long, numbers, page, table

Document = Mapping[str, Any]
STAGES = {"production": "ok", "staging": "info", "archived": "none", "none": "none"}
VERDICTS = {True: ("passed", "ok"), False: ("failed", "bad"), None: ("undecided", "warn")}
MOST_NAMES = 20
DECISIONS = {"promoted": "ok", "refused": "bad", "undone": "bad", "rolled back": "warn", "held": "warn"}


def card(document: Document) -> str:
    """Return the page of a version, from `documents.version_document`."""
    title = f"{document['model']} version {document['version']}"
    status = badge(stage(document["stage"]), STAGES.get(document["stage"], "none"))
    return page(title, _subtitle(document), card_sections(document), status=status, footer=_footer(document))


def card_sections(document: Document) -> list[Section]:
    """Return everything below the title of a card."""
    found = [Section("", numbers(_tiles(document)), wide=True)]
    if document.get("problem"):
        found.append(
            Section(
                "Its files cannot be read",
                tag("p", badge("broken", "bad"), " ", document["problem"]),
                wide=True,
            )
        )
    found += sections(document["evaluation"])
    found += [
        Section(
            "Where it came from",
            flow(_lineage(document), label="Lineage"),
            "tables, run, version, stages",
            wide=True,
        ),
        Section(
            "Gates and rollout",
            _gates(document),
            "gates on the newest mature rows, beside the champion of the time",
            wide=True,
        ),
        Section("History of its stages", history(document["history"]), wide=True),
        Section("How to make it again", _rebuild(document), wide=True),
        Section(
            "Features",
            _features(document),
            f"{len(document['features'])}, in the order of the model",
            wide=True,
        ),
    ]
    return found


def judged_by_gates(document: Document) -> list[Document]:
    """Return the decisions of gates that have verdicts, oldest first; what a rollout decides has the gate's as a reason."""
    return [item for item in document["gates"] if item["kind"] == "gate" and item["evidence"].get("results")]


def stage(name: str) -> str:
    """Return a stage in words."""
    return "no stage yet" if name == "none" else name


def named(classes: Sequence[str | int]) -> str:
    """Return the names of classes, the first ones where there are many."""
    more = f" and {len(classes) - MOST_NAMES} more" if len(classes) > MOST_NAMES else ""
    return ", ".join(map(str, classes[:MOST_NAMES])) + more


def _subtitle(document: Document) -> str:
    parts = [document.get("kind", ""), document.get("period", ""), f"run {document['run']}"]
    return " · ".join(filter(None, [*parts, f"registered {moment(document['created'])}"]))


def _footer(document: Document) -> str:
    return f"sha256 {document['digest']} · training set {document.get('training_set', '')}"


def _tiles(document: Document) -> list[Tile]:
    evaluation = document["evaluation"]
    name = main_metric(evaluation) or next(iter(document.get("metrics") or {}), "")
    found = (evaluation.get("metrics") or {}).get(name) or {
        "value": (document.get("metrics") or {}).get(name)
    }
    rows = evaluation.get("rows") or {"train": document.get("rows")}
    positives = evaluation.get("positives") or {}
    tiles: list[Tile] = [(name, shown(found.get("value")), *_beside(name, found, evaluation))]
    tiles.append(("Rows learned from", number(rows.get("train")), _share(positives, rows, "train"), "none"))
    if "test" in rows:
        tiles.append(("Rows tested on", number(rows.get("test")), _share(positives, rows, "test"), "none"))
    tiles.append(_gate_tile(document))
    tiles.append(("Features", number(len(document["features"])), f"{len(document['tables'])} tables", "none"))
    warned = len(evaluation.get("warnings") or [])
    if warned:
        tiles.append(("To look at", number(warned), "before trusting the numbers", "warn"))
    return tiles


def _beside(name: str, found: Document, evaluation: Document) -> tuple[str, str]:
    """Return the best baseline beside a metric, and whether the version is better than it."""
    own = found.get("value")
    others = {
        what: values[name]
        for what, values in (evaluation.get("baselines") or {}).items()
        if values.get(name) is not None
    }
    gains = {what: gain(name, value, own) for what, value in others.items()} if own is not None else {}
    known = {what: by for what, by in gains.items() if by is not None}
    if not known:
        return "", "none"
    best = min(known, key=lambda what: known[what])
    return f"{best} {number(others[best])}", "ok" if known[best] > 0 else "bad"


def _share(positives: Document, rows: Document, part: str) -> str:
    count, whole = positives.get(part), rows.get(part)
    return "" if count is None or not whole else f"{number(100 * count / whole, 3)} % positive"


def _gate_tile(document: Document) -> Tile:
    judged = judged_by_gates(document)
    if not judged:
        told = "none has judged it" if document["gates"] else "not judged yet"
        return ("Gates", number(None), told, "none")
    results = judged[-1]["evidence"]["results"]
    passed = sum(item["passed"] is True for item in results)
    return (
        "Gates passed",
        f"{passed} of {len(results)}",
        judged[-1]["decision"],
        DECISIONS.get(judged[-1]["decision"], "none"),
    )


def _gates(document: Document) -> Html:
    if not document["gates"]:
        return tag(
            "p",
            "No gate has judged it yet: tenfold promote PROJECT.py ",
            document["model"],
            f" {document['version']}",
        )
    return join(*map(_decision, document["gates"]))


def _decision(item: Document) -> Html:
    results = (item["evidence"].get("results") or []) if item["kind"] == "gate" else []
    trigger = item["evidence"].get("trigger")
    cause = f", because of {trigger}" if trigger else ""
    told = cause if results else f": {item['why']}"
    state = DECISIONS.get(item["decision"].partition(" in ")[0], "none")
    head = tag("p", badge(item["decision"], state), f" {moment(item['at'])} by {item['by']}{told}")
    if not results:
        return head
    rows = [
        [one["check"], badge(*VERDICTS[one["passed"]]), shown(one["value"]), long(one["why"])]
        for one in results
    ]
    return join(
        head, table(["gate", "verdict", "value", "why"], rows, align="llrl", label=f"Gates of {item['at']}")
    )


def history(events: list[Document]) -> Html:
    """Return moves between stages, oldest first."""
    if not events:
        return tag("p", "It was never moved.")
    rows = [
        [
            moment(event["at"]),
            badge(f"{event['from']} to {event['to']}", STAGES.get(event["to"], "none")),
            event["by"],
            long(event["why"]),
        ]
        for event in events
    ]
    return table(["UTC", "move", "by", "why"], rows, label="History of stages")


def _lineage(document: Document) -> list[list[Node]]:
    run = document["run_of"]
    tables = [Node("table", name, f"version {version}") for name, version in document["tables"].items()]
    made = Node("run", document["run"], _code_fact(run["code"]), "ok" if run["status"] == "done" else "bad")
    version = Node("version", f"{document['model']} {document['version']}", document["digest"][:12])
    state = STAGES.get(document["stage"], "none")
    return [tables, [made], [version], [Node("stage", stage(document["stage"]), _since(document), state)]]


def _since(document: Document) -> str:
    return f"since {moment(document['history'][-1]['at'])}" if document["history"] else ""


def _code_fact(code: Document) -> str:
    if "git" not in code:
        return f"tenfold {code.get('tenfold', '')}"
    return f"commit {code['git'][:10]}{' + changes' if 'dirty' in code else ''}"


def _rebuild(document: Document) -> Html:
    run = document["run_of"]
    code, libraries = run["code"], document.get("libraries") or run["environment"].get("libraries", {})
    if run["kind"] == "register":
        given = run["params"]
        version = f" of {given['version']}, which was taken over" if given.get("version") else ""
        told = f"It was trained elsewhere, and registered from the file {given.get('file')}{version}, sha256 "
        return tag("p", told, tag("code", given.get("sha256")), ".")
    if not document["rebuild"]:
        return tag("p", "It was trained elsewhere, and taken over with its run.")
    steps = []
    if "git" in code:
        steps.append(tag("li", "Check out commit ", tag("code", code["git"]), "."))
    if "dirty" in code:
        steps.append(
            tag(
                "li",
                badge("not committed", "warn"),
                " It was made with changes that are in no commit; they are below.",
            )
        )
    told = ", ".join(f"{name} {version}" for name, version in libraries.items())
    python = run["environment"].get("python", "")
    steps.append(tag("li", f"Install Python {python} and {told}."))
    steps.append(
        tag(
            "li",
            "Run ",
            tag("code", document["rebuild"]),
            ": the same bytes, or what differs and by how much.",
        )
    )
    diff = uncommitted(run["diff"])
    params = [[name, shown(value)] for name, value in settings(run).items()]
    return join(
        tag("ol", *steps, class_="plain"),
        diff,
        fold_away(
            f"{len(params)} parameters", table(["parameter", "value"], params, align="ll", label="Parameters")
        ),
    )


def _features(document: Document) -> Html:
    rows = [
        [item["name"], item["type"], item["importance"], long(item["definition"])]
        for item in document["features"]
    ]
    if not rows:
        return tag("p", "Not known: the files of the version cannot be read.")
    heads = ["feature", "type", "importance", "what it is"]
    every = fold_away(f"All {len(rows)}", table(heads, rows, align="llrl", label="Features"))
    told, known = document.get("label"), document.get("classes") or []
    parts = [tag("p", "It predicts ", tag("code", told), ".")] if told else []
    if known:
        parts.append(tag("p", f"One of {len(known)} classes: ", tag("b", named(known)), "."))
    return join(*parts, every)
