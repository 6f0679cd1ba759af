"""Functions of text."""

from typing import Protocol, Self

from tenfold.core.calls import Calls
from tenfold.core.errors import DefinitionError

WHITESPACE = " \t\n\r\f\v"
MOST = 2**31


class Texts(Calls, Protocol):
    """The functions of a text expression; positions and lengths count code points."""

    __slots__ = ()

    def lower(self) -> Self:
        """Return the text in small letters, each character by itself: the length stays (Unicode's simple mapping)."""
        return self._call("lower")

    def upper(self) -> Self:
        """Return the text in capitals, each character by itself: the length stays (Unicode's simple mapping)."""
        return self._call("upper")

    def length(self) -> Self:
        """Return the number of code points."""
        return self._call("length")

    def contains(self, text: object) -> Self:
        """Return whether `text` occurs in it, letter by letter; there are no patterns."""
        return self._call("contains", text)

    def starts_with(self, text: object) -> Self:
        """Return whether it begins with `text`."""
        return self._call("starts_with", text)

    def ends_with(self, text: object) -> Self:
        """Return whether it ends with `text`."""
        return self._call("ends_with", text)

    def strip(self) -> Self:
        """Return it without the ASCII white space at both ends."""
        return self._call("strip")

    def replace(self, old: str, new: str) -> Self:
        """Return it with every `old`, from left to right, as `new`."""
        _text("replace", old)
        if type(new) is not str:
            raise DefinitionError(f"replace: {new!r} is not text.")
        return self._call("replace", old, new)

    def slice(self, offset: int, length: int | None = None) -> Self:
        """Return `length` code points from `offset` on, counted from 0, or from the end when negative; to the end if left out.

        Examples
        --------
        >>> from tenfold import col
        >>> col("country").slice(0, 2).text, col("card").slice(-4).text
        ('slice(country, 0, 2)', 'slice(card, -4)')
        """
        _whole("slice", offset, -MOST)
        return self._call("slice", offset, *(() if length is None else (_whole("slice", length, 0),)))

    def split_part(self, separator: str, part: int) -> Self:
        """Return the part-th piece between separators, counted from 1 as in SQL; "" when there is none."""
        _text("split_part", separator)
        return self._call("split_part", separator, _whole("split_part", part, 1))

    def concat(self, *others: object) -> Self:
        """Return texts one after the other; null when one of them is null."""
        if not others:
            raise DefinitionError(
                'concat() joins several texts. Write for example col("a").concat("-", col("b")).'
            )
        return self._call("concat", *others)

    def hash_bucket(self, buckets: int) -> Self:
        """Return a number from 0 to buckets - 1 that depends on the text alone (of ints and booleans: their text).

        It is the first 52 bits of the SHA-256 of the UTF-8 text, modulo `buckets`.
        """
        return self._call("hash_bucket", _whole("hash_bucket", buckets, 1))


def _text(fn: str, value: object) -> None:
    if type(value) is not str or not value:
        raise DefinitionError(f"{fn}: {value!r} is not a text of at least one character.")


def _whole(fn: str, value: int, least: int) -> int:
    if type(value) is not int or not least <= value <= MOST:
        raise DefinitionError(f"{fn}: {value!r} is not a whole number from {least:,} to {MOST:,}.")
    return value
