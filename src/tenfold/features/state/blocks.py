"""Columns of one type as one matrix: what is done for all of them at once need not be done for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.processing.frame import Column, Frame


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of one type: values and what is not null, both of shape (k, n)."""

    type: str
    values: np.ndarray
    valid: np.ndarray


class Columns:
    """Columns by name, in blocks.

    Parameters
    ----------
    places
        Of each column its block and its row there.

    Examples
    --------
    >>> block = Block("int", np.array([[1, 2], [3, 0]]), np.array([[True, True], [True, False]]))
    >>> columns = Columns({"a": (0, 0), "b": (0, 1)}, [block])
    >>> columns["b"].plain()
    [3, None]
    >>> columns.put([1], [{"b": 4}])["b"].plain()
    [3, 4]
    """

    def __init__(self, places: Mapping[str, tuple[int, int]], blocks: Sequence[Block]) -> None:
        self.places, self.blocks = places, blocks

    def __getitem__(self, name: str) -> Column:
        which, row = self.places[name]
        block = self.blocks[which]
        return Column(block.type, block.values[row], block.valid[row])

    def frame(self) -> dict[str, Column]:
        """Return all columns."""
        return {name: self[name] for name in self.places}

    def put(self, rows: Sequence[int], values: Sequence[Mapping[str, Any]]) -> "Columns":
        """Return the columns with other values at some rows, as Python values, None for null."""
        blocks = [Block(one.type, one.values.copy(), one.valid.copy()) for one in self.blocks]
        for at, row in zip(rows, values, strict=True):
            for name, value in row.items():
                which, place = self.places[name]
                block = blocks[which]
                block.valid[place, at] = value is not None
                block.values[place, at] = (None if block.type == "str" else 0) if value is None else value
        return Columns(self.places, blocks)


def of_frame(frame: Frame) -> Columns:
    """Return columns as blocks of one each."""
    blocks = [Block(item.type, item.values[None], item.valid[None]) for item in frame.values()]
    return Columns({name: (which, 0) for which, name in enumerate(frame)}, blocks)
