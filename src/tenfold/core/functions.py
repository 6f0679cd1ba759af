"""The closed list of functions of one row: what each takes and what it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NUMERIC = ("int", "float", "bool")


@dataclass(frozen=True, slots=True)
class Function:
    """The signature of a function.

    Attributes
    ----------
    takes
        A kind for each input: a type, or "number" (int, float or bool), "whole" (int or bool), "same" (all such inputs
        have one type, or all are numbers), "plain" (anything that has one text: str, int, bool), "readable" (a number
        or str), "any". A kind that starts with "=" is a constant that is checked where it is written.
    least
        How many inputs it needs; the last kind repeats when `repeats`.
    result
        A type, or "number" (float as soon as one input is, else int), "same" (the type of its "same" inputs, "number"
        when they are mixed), "first" (the type of the first input).
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
        if self.result == "first":
            return inputs[0]
        kinds = self.kinds(len(inputs)) or ()
        wanted = ("same",) if self.result == "same" else ("number", "same")
        both = {item for item, kind in zip(inputs, kinds, strict=False) if kind in wanted}
        if self.result == "same" and len(both) == 1:
            return both.pop()
        if self.result in ("same", "number"):
            return "float" if "float" in both else "int"
        return self.result


def _is(type_: str, kind: str) -> bool:
    groups = {
        "number": NUMERIC,
        "whole": ("int", "bool"),
        "plain": ("int", "bool", "str"),
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
    "add": "number number -> number",
    "sub": "number number -> number",
    "mul": "number number -> number",
    "div": "number number -> float",
    "floordiv": "number number -> number",
    "mod": "number number -> number",
    "pow": "number number -> float",
    "neg": "number -> number",
    "abs": "number -> number",
    "sign": "number -> int",
    "floor": "number -> number",
    "ceil": "number -> number",
    "trunc": "number -> number",
    "round": "number =digits -> number",
    "clip": "number number number -> number",
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
    "to_bool": "number -> bool",
    "to_str": "plain -> str",
}

FUNCTIONS: Mapping[str, Function] = {name: _read(text) for name, text in _SIGNATURES.items()}
