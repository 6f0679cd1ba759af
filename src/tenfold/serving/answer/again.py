"""Rows whose answers are stored already as theirs are to be: what was said then counts, or what is said now."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

from tenfold.serving.answer.predictions import Answered, Predictions
from tenfold.serving.answer.questions import Asks, Question


def of_lists(questions: Sequence[Question], asks: Asks, stored: Mapping[str, Answered]) -> bool:
    """Return whether a row of a question about several rows with a key is stored: then the question counts as a whole."""
    return any(
        name in stored and questions[of].key is not None and not questions[of].alone
        for of, name in zip(asks.of, asks.id, strict=True)
    )


def renamed(
    questions: Sequence[Question],
    of: Sequence[int],
    answers: Predictions,
    texts: dict[str, bytes],
    stored: Mapping[str, Answered],
    as_text: Callable[[Predictions], Sequence[bytes]],
) -> tuple[Predictions, dict[str, bytes]]:
    """Return answers and their texts with the ids under which they are to be stored: those they have but for rows without a key.

    One of these has an id of its own where another answer is stored under its id: who gives no key is told what is so now, not
    what was said by another version, without the states or about the row as it was before. The same answer again has the same id.
    """
    ids = list(answers.id)
    for place, name in enumerate(ids):
        before, new = stored.get(name), Answered(answers.request[place], texts[name])
        if before is not None and before != new and questions[of[place]].key is None:
            ids[place] = f"{name}/{_digest(new)}"
    if ids == answers.id:
        return answers, texts
    answers = replace(answers, id=ids)
    return answers, texts | dict(zip(ids, as_text(answers), strict=True))


def _digest(answer: Answered) -> str:
    return blake2b(answer.request.encode() + answer.told, digest_size=8).hexdigest()
