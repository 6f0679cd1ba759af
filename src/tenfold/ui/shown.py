"""What `app.show` returns: a run, a version or two runs side by side, as HTML in a notebook and as text elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.errors import DefinitionError, TenfoldError
from tenfold.registry.versions import Version
from tenfold.training.tracked import CONTENT, FILES
from tenfold.ui.card import STAGES, card, card_sections, stage
from tenfold.ui.compare_page import SAME, compare_page, compare_sections
from tenfold.ui.documents import Document, Kept, compare_document, run_document, version_document
from tenfold.ui.evaluated import main_metric, shown
from tenfold.ui.report import badge, fragment
from tenfold.ui.run_page import PICTURES, STATUS, run_page, run_sections


@dataclass(frozen=True, slots=True)
class Shown:
    """Something to look at: a notebook shows it, `save` writes the page, `document` holds the facts.

    The HTML runs no script and loads nothing.
    """

    text: str
    document: Document
    page: str
    html: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html

    def save(self, path: str | Path) -> None:
        """Write the whole page to a file: one that needs nothing else."""
        Path(path).write_text(self.page)


def show(kept: Kept, *what: Any) -> Shown:
    """Return one run or version to look at, or two side by side.

    Each is an id such as "r0012", a version such as "fraud/3", or the object itself.
    """
    names = [_name(item) for item in what]
    if len(names) == 2:
        return show_comparison(kept, *names)
    if len(names) != 1:
        raise DefinitionError(f"show takes one run or version, or two to compare; it was given {len(names)}.")
    model, slash, number = names[0].rpartition("/")
    return (
        show_version(kept, model, int(number)) if slash and number.isdecimal() else show_run(kept, names[0])
    )


def show_run(kept: Kept, run_id: str) -> Shown:
    """Return a run to look at."""
    document = run_document(kept, run_id)
    pictures, problem = _pictures(kept, document)
    document["problem"] = document["problem"] or problem
    title = f"{document['run']} {document['title'] or document['model']}"
    status = badge(document["status"], STATUS[document["status"]])
    metrics = ", ".join(f"{name} {shown(value)}" for name, value in document["metrics"].items())
    return Shown(
        f"run {title} ({document['status']}): {metrics or document['error'] or 'nothing measured yet'}",
        document,
        run_page(document, pictures),
        fragment(title, run_sections(_brief(document), {}), status=status),
    )


def show_version(kept: Kept, model: str, number: int, project: str = "PROJECT.py") -> Shown:
    """Return a version to look at: its model card; the commands to type name the project as it is given."""
    document = version_document(kept, model, number, project)
    title = f"{model} version {number}"
    name = main_metric(document["evaluation"])
    value = document["evaluation"]["metrics"][name]["value"] if name else None
    told = f", {name} {shown(value)}" if name else ""
    status = badge(stage(document["stage"]), STAGES[document["stage"]])
    return Shown(
        f"{title} ({stage(document['stage'])}) from run {document['run']}{told}",
        document,
        card(document),
        fragment(title, card_sections(document | {"run_of": _brief(document["run_of"])}), status=status),
    )


def show_comparison(kept: Kept, a: str, b: str) -> Shown:
    """Return two runs side by side."""
    document = compare_document(kept, a, b)
    same = SAME[document["rows"]["same"]]
    better = ", ".join(
        f"{item['name']} better in {item['better']}" for item in document["metrics"] if item["better"]
    )
    return Shown(
        f"{a} and {b}: {same[0]}; {better or 'no metric known to be better in one of them'}",
        document,
        compare_page(document),
        fragment(f"{a} and {b}", compare_sections(document), status=badge(*same)),
    )


def _brief(document: Document) -> Document:
    """Return a run for a notebook, which is sent about and stored: without the code that was not committed."""
    lines = document["diff"].count("\n")
    told = f"{lines:,} lines; the page of the run has them: app.show({document['run']!r}).save(...)"
    return document | {"diff": told if document["diff"] else ""}


def _pictures(kept: Kept, document: Document) -> tuple[dict[str, bytes], str]:
    """Return the pictures of a run by name, and what is wrong with one that cannot be read."""
    found, problem = {}, ""
    for item in document["files"]:
        if _is_picture(item["name"]):
            try:
                found[item["name"]] = kept.blobs.get(f"{FILES}/{item['sha256']}")[CONTENT]
            except TenfoldError as error:
                problem = str(error)
    return found, problem


def _name(item: Any) -> str:
    if isinstance(item, Version):
        return f"{item.model}/{item.number}"
    return item if isinstance(item, str) else str(item.id)


def _is_picture(name: str) -> bool:
    return name.rpartition(".")[2].lower() in PICTURES
