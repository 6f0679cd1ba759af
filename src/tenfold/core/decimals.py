"""Decimals: whole numbers of units that know their places, so that 12.30 with two places is 1,230.

A type carries its places, "decimal(2)"; a value is the int of its units wherever it is computed with, stored in a state or
compared. At most 18 digits, as SQL's DECIMAL(18, 2) has.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

DIGITS = 18
LIMIT = 10**DIGITS
"""Units are smaller in magnitude; what is not cannot be represented."""
LONG = 60
"""So many digits behind the point are looked at one by one: a fraction of a million digits would take minutes."""


def decimal_type(places: int) -> str:
    """Return the type of decimals with so many places."""
    return f"decimal({places})"


PLACES: Mapping[str, int] = {decimal_type(places): places for places in range(DIGITS + 1)}
"""The places of every decimal type; a type that is not in it is none."""


def joint(types: Iterable[str]) -> str:
    """Return the type that numbers of several types have together.

    Examples
    --------
    >>> joint(["int", "decimal(2)", "decimal(3)"]), joint(["decimal(2)", "float"]), joint(["int", "bool"])
    ('decimal(3)', 'float', 'int')
    """
    found = set(types)
    if "float" in found:
        return "float"
    places = [PLACES[item] for item in found if item in PLACES]
    return decimal_type(max(places)) if places else "int"


def units_of(value: Decimal, places: int) -> int | None:
    """Return a finite decimal in units of so many places; None when it has more places than these.

    A value of more than 18 digits may come back as any number that has more, too.

    Examples
    --------
    >>> units_of(Decimal("12.3"), 2), units_of(Decimal("12.300"), 2), units_of(Decimal("12.345"), 2)
    (1230, 1230, None)
    """
    if not value:
        return 0
    if value.adjusted() >= DIGITS:  # before a number of a million digits is written out
        return LIMIT if value > 0 else -LIMIT
    if value.adjusted() < -places:
        return None
    sign, digits, exponent = value.as_tuple()
    if int(exponent) < -LONG:
        cut = int(exponent) + places
        return None if any(digits[cut:]) else units_of(Decimal((sign, digits[:cut], -places)), places)
    whole, parts = value.as_integer_ratio()
    units, rest = divmod(whole * 10**places, parts)
    return None if rest else units


def text_of(units: int, places: int) -> str:
    """Return a decimal's one text, with all its places and no exponent.

    Examples
    --------
    >>> text_of(1230, 2), text_of(-5, 3), text_of(7, 0)
    ('12.30', '-0.005', '7')
    """
    digits = f"{abs(units):0{places + 1}d}"
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if units < 0 else text


def decimal_of(units: int, places: int) -> Decimal:
    """Return the Decimal that units stand for, whatever the context rounds to.

    Examples
    --------
    >>> decimal_of(1230, 2)
    Decimal('12.30')
    """
    return Decimal(text_of(units, places))


def literal_type(value: Decimal) -> str | None:
    """Return the type of a constant; None when it is not finite or has too many digits.

    Examples
    --------
    >>> literal_type(Decimal("0.005")), literal_type(Decimal("1E+3")), literal_type(Decimal("NaN"))
    ('decimal(3)', 'decimal(0)', None)
    """
    if not value.is_finite():
        return None
    places = max(-int(value.as_tuple().exponent), 0)
    units = units_of(value, places) if places <= DIGITS else None
    return None if units is None or abs(units) >= LIMIT else decimal_type(places)
