"""Vectors: what a function of arrays computes when it gives several numbers per row."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, NoReturn, Self, TypeVar, overload

from tenfold.core.applied import ArrayFunction
from tenfold.core.calls import Calls
from tenfold.core.errors import DefinitionError, UnknownFunction, suggest
from tenfold.core.windows import Aggregates, Over

Item = TypeVar("Item")

BY_ITEM = ("first", "last", "lag", "sum", "mean", "min", "max", "var", "std", "decayed_sum")
"""Aggregates of vectors: each item by itself."""


class Vector(Aggregates, Generic[Item]):
    """A fixed number of expressions that one function computes together; `vector[0]` is the first.

    Its aggregates are those of its items: the mean of a vector is the vector of the means.

    Examples
    --------
    >>> from tenfold import col
    >>> Vector([col("x"), col("y")]).mean(window="7d")[1].text
    'mean(y, window=604800s)'
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Item]) -> None:
        self._items: tuple[Any, ...] = tuple(items)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __getitem__(self, place: int) -> Item:
        item: Item = self._items[place]
        return item

    def __repr__(self) -> str:
        return f"<a vector of {len(self)} numbers, the first of them {self._items[0].text}>"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        known = ["apply", *BY_ITEM]
        raise UnknownFunction(f'a vector has no function "{name}".{suggest(name, known)} {INSTEAD}')

    def _refused(self, *_: object) -> NoReturn:
        raise DefinitionError(f"{self!r} cannot be combined with operators. {INSTEAD}")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refused
    __neg__ = __invert__ = __bool__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _refused
    __hash__ = object.__hash__

    def _over(self, aggregate: str, over: Over, n: Any = 0) -> Self:
        if aggregate not in BY_ITEM:
            raise DefinitionError(
                f"{aggregate} of {self!r}: vectors have {', '.join(BY_ITEM)}. For one number of it, write vector[0]."
            )
        return type(self)(item._over(aggregate, over, n) for item in self._items)

    @overload
    def apply(
        self, function: Callable[..., Any], *others: object, returns: str, row_by_row: bool = False
    ) -> Item: ...

    @overload
    def apply(
        self,
        function: Callable[..., Any],
        *others: object,
        returns: str,
        size: int,
        row_by_row: bool = False,
    ) -> "Vector[Item]": ...

    def apply(
        self,
        function: Callable[..., Any],
        *others: object,
        returns: str,
        size: int | None = None,
        row_by_row: bool = False,
    ) -> Any:
        """Return what a function computes of vectors, each an array of shape (n, size), and of other expressions."""
        return applied(function, [self, *others], returns, size=size, row_by_row=row_by_row)


def by_vector(names: Iterable[str]) -> dict[str, list[str]]:
    """Return names by the vector they are items of; any other name stands for itself.

    Examples
    --------
    >>> by_vector(["hour", "title[0]", "title[1]"])
    {'hour': ['hour'], 'title': ['title[0]', 'title[1]']}
    """
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.partition("[")[0], []).append(name)
    return found


INSTEAD = 'Take one number of it, such as vector[0], or pass it to a function: vector.apply(function, returns="float").'


def applied(
    function: Callable[..., Any],
    given: Sequence[object],
    returns: str,
    *,
    size: int | None = None,
    row_by_row: bool = False,
) -> Any:
    """Return a function of expressions and vectors as an expression, with a `size` as a vector."""
    widths = tuple(len(one) if isinstance(one, Vector) else 0 for one in given)
    flat: list[Any] = [item for one in given for item in (one if isinstance(one, Vector) else [one])]
    first: Calls = flat[0]
    made = first._apply(ArrayFunction(function, returns, size, row_by_row, widths), *flat[1:])
    return made if size is None else Vector(made._call("item", constants=(place,)) for place in range(size))
