"""The closed list of functions of one row: what each takes and what it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenfold.core.decimals import PLACES, joint

NUMERIC = ("int", "float", "bool", *PLACES)


@dataclass(frozen=True, slots=True)
class Function:
    """The signature of a function.

    Attributes
    ----------
    takes
        A kind for each input: a type, or "number", "exact" (a number that is not made a float when it is a decimal),
        "whole" (int or bool), "same" (all such inputs have one type, or all are numbers), "plain" (anything that has one
        text: str, int, bool, a decimal), "readable" (a number or str), "any". A kind that starts with "=" is a constant
        that is checked where it is written.
    least
        How many inputs it needs; the last kind repeats when `repeats`.
    result
        A type, or "number" (what its inputs, once they are brought, have together), "same" (the type of its "same"
        inputs, "number" when they are mixed), "product" (exact for a decimal and whole numbers, else "number"), "first"
        and "last" (the type of that input).
    """

    takes: tuple[str, ...]
    result: str
    least: int
    repeats: bool

    def kinds(self, inputs: int) -> tuple[str, ...] | None:
        """Return the kind of each of so many inputs, None when it does not take so many."""
        if not self.least <= inputs <= (inputs if self.repeats else len(self.takes)):
            return None
        return self.takes[:inputs] + self.takes[-1:] * (inputs - len(self.takes))

    def fits(self, inputs: Sequence[str]) -> bool:
        """Return whether it takes inputs of these types."""
        kinds = self.kinds(len(inputs))
        if kinds is None or not all(map(_is, inputs, kinds)):
            return False
        alike = {item for item, kind in zip(inputs, kinds, strict=True) if kind == "same"}
        return len(alike) < 2 or alike <= set(NUMERIC)

    def type_of(self, inputs: Sequence[str]) -> str:
        """Return the type of its result for inputs that fit it.

        Examples
        --------
        >>> FUNCTIONS["add"].type_of(["int", "bool"]), FUNCTIONS["fill_null"].type_of(["int", "float"])
        ('int', 'float')
        """
        if self.result in ("first", "last"):
            return inputs[0 if self.result == "first" else -1]
        if self.result not in ("same", "number", "product"):
            return self.result
        kinds = self.kinds(len(inputs)) or ()
        both = {
            item
            for item, kind in zip(self.brought(inputs), kinds, strict=False)
            if kind in (("same",) if self.result == "same" else ("number", "exact"))
        }
        return both.pop() if self.result == "same" and len(both) == 1 else joint(both)

    def brought(self, inputs: Sequence[str]) -> tuple[str, ...]:
        """Return the types to which inputs that fit are brought before it is computed; only decimals change anything.

        Examples
        --------
        >>> FUNCTIONS["add"].brought(["decimal(2)", "int"]), FUNCTIONS["div"].brought(["decimal(2)", "int"])
        (('decimal(2)', 'decimal(2)'), ('float', 'int'))
        """
        if not any(item in PLACES for item in inputs):
            return tuple(inputs)
        kinds = self.kinds(len(inputs)) or ()
        alike = joint(item for item, kind in zip(inputs, kinds, strict=True) if kind in ("same", "exact"))
        if self.result == "product":
            one_decimal = "float" not in inputs and sum(item in PLACES for item in inputs) == 1
            return tuple(inputs) if one_decimal else tuple(_float(item) for item in inputs)
        if self.result == "last":
            return (inputs[-1], inputs[-1])
        to = {"same": alike, "exact": alike, "plain": "str", "readable": self.result, "number": "float"}
        return tuple(
            to[kind] if kind in ("same", "exact") or (item in PLACES and kind in to) else item
            for item, kind in zip(inputs, kinds, strict=True)
        )


def _float(type_: str) -> str:
    return "float" if type_ in PLACES else type_


def _is(type_: str, kind: str) -> bool:
    groups = {
        "number": NUMERIC,
        "exact": NUMERIC,
        "whole": ("int", "bool"),
        "plain": ("int", "bool", "str", *PLACES),
        "readable": (*NUMERIC, "str"),
    }
    return kind in ("any", "same") or kind[0] == "=" or type_ in groups.get(kind, (kind,))


def _read(signature: str) -> Function:
    """Return a signature from text such as "time =zone -> int"; "?" may be left out, "*" may be repeated."""
    left, result = signature.split(" -> ")
    words = left.split()
    needed = [word for word in words if word[-1] != "?"]
    return Function(tuple(word.rstrip("?*") for word in words), result, len(needed), words[-1][-1] == "*")


_SIGNATURES = {
    # arithmetic
    "add": "exact exact -> number",
    "sub": "exact exact -> number",
    "mul": "exact exact -> product",
    "div": "number number -> float",
    "floordiv": "number number -> number",
    "mod": "number number -> number",
    "pow": "number number -> float",
    "neg": "exact -> number",
    "abs": "exact -> number",
    "sign": "exact -> int",
    "floor": "number -> number",
    "ceil": "number -> number",
    "trunc": "number -> number",
    "round": "number =digits -> number",
    "clip": "exact exact exact -> number",
    "least": "same same* -> same",
    "greatest": "same same* -> same",
    # mathematics
    "sqrt": "number -> float",
    "exp": "number -> float",
    "expm1": "number -> float",
    "ln": "number -> float",
    "log2": "number -> float",
    "log10": "number -> float",
    "log1p": "number -> float",
    "sin": "number -> float",
    "cos": "number -> float",
    "tan": "number -> float",
    "asin": "number -> float",
    "acos": "number -> float",
    "atan": "number -> float",
    "atan2": "number number -> float",
    "tanh": "number -> float",
    "sigmoid": "number -> float",
    "degrees": "number -> float",
    "radians": "number -> float",
    # comparison and logic
    "eq": "same same -> bool",
    "ne": "same same -> bool",
    "lt": "same same -> bool",
    "le": "same same -> bool",
    "gt": "same same -> bool",
    "ge": "same same -> bool",
    "is_in": "same same* -> bool",
    "and": "bool bool -> bool",
    "or": "bool bool -> bool",
    "not": "bool -> bool",
    "when": "bool same same? -> same",
    # null
    "is_null": "any -> bool",
    "is_not_null": "any -> bool",
    "fill_null": "same same -> same",
    "coalesce": "same same* -> same",
    "null_if": "same same -> first",
    # text
    "lower": "str -> str",
    "upper": "str -> str",
    "length": "str -> int",
    "contains": "str str -> bool",
    "starts_with": "str str -> bool",
    "ends_with": "str str -> bool",
    "strip": "str -> str",
    "replace": "str =old =new -> str",
    "slice": "str =offset =length? -> str",
    "split_part": "str =separator =part -> str",
    "concat": "str str* -> str",
    "hash_bucket": "plain =buckets -> int",
    # dates
    "year": "time =zone -> int",
    "quarter": "time =zone -> int",
    "month": "time =zone -> int",
    "week": "time =zone -> int",
    "day": "time =zone -> int",
    "day_of_year": "time =zone -> int",
    "weekday": "time =zone -> int",
    "is_weekend": "time =zone -> bool",
    "hour": "time =zone -> int",
    "minute": "time =zone -> int",
    "second": "time =zone -> int",
    "minute_of_day": "time =zone -> int",
    "date_trunc": "time =unit =zone -> time",
    "offset_by": "time =us -> time",
    "since": "time time =us -> float",
    "age": "time =us -> float",
    "epoch": "time =us -> int",
    "from_epoch": "whole =us -> time",
    # types
    "to_int": "readable -> int",
    "to_float": "readable -> float",
    "to_bool": "exact -> bool",
    "to_decimal": "plain =like -> last",
    "to_str": "plain -> str",
}

FUNCTIONS: Mapping[str, Function] = {name: _read(text) for name, text in _SIGNATURES.items()}
