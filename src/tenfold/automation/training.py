"""A training that a person asks for, as a durable run: after a crash, asking again goes on where it stopped."""

import uuid
from collections.abc import Callable
from typing import Any

from tenfold.automation.journal import Journal
from tenfold.core.errors import Conflict
from tenfold.registry.versions import Version
from tenfold.training.dataset import Dataset
from tenfold.training.folds import Split
from tenfold.training.model import Model
from tenfold.training.train import Trainer
from tenfold.training.watch import Watch

KIND = "train"


def train(
    journal: Journal,
    trainer: Trainer,
    model: Model,
    dataset: Callable[[], Dataset],
    asked: Any,
    split: Callable[[], Split],
    *,
    watch: Watch | None = None,
    processes: int | None = None,
) -> Version:
    """Finish the same training that a crash interrupted, or begin one; return its version.

    Parameters
    ----------
    asked
        What was asked for, as JSON gives it back: an interrupted training goes on only when the same is asked for again
        of the same declaration.
    split
        Gives the split when a training is begun.
    """
    wanted = {"model": model.name, "declaration": model.fingerprint, "asked": asked}
    # each call is an owner of its own: another thread of this process may be at the same training
    owner = f"train {uuid.uuid4().hex}"

    def finished(run_id: str) -> Version:
        steps = trainer.steps(model, dataset, run_id, watch=watch, processes=processes)
        results = journal.run(run_id, steps, owner=owner)
        return trainer.registry.get(model.name, results["register"])

    for run in journal.unfinished():
        if run.kind == KIND and {name: run.input.get(name) for name in wanted} == wanted:
            try:
                return finished(run.id)
            except Conflict:
                continue  # a process that lives is at it
    chosen = split()
    given = wanted | {"train": list(chosen.train), "test": list(chosen.test), "now": chosen.now}
    return finished(journal.begin(KIND, f"{model.name}/{uuid.uuid4().hex}", given))
