"""What SQL calls things: the names and words that are read as functions of the closed list."""

BINARY = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "IntDiv": "floordiv",
    "Mod": "mod",
    "Pow": "pow",
    "EQ": "eq",
    "NEQ": "ne",
    "LT": "lt",
    "LTE": "le",
    "GT": "gt",
    "GTE": "ge",
    "And": "and",
    "Or": "or",
    "DPipe": "concat",
}
ARITHMETIC = ("add", "sub", "mul", "div", "floordiv", "mod", "pow", "neg")
OPERATORS = (*ARITHMETIC, "eq", "ne", "lt", "le", "gt", "ge", "not", "and", "or")
TO = ("to_int", "to_float", "to_bool", "to_str")
AMBIGUOUS = {
    "to_decimal": "is written CAST(x AS DECIMAL(18, 2)), with the places last.",
    "log": "means another thing in every engine. Write ln, log2 or log10.",
    "dayofweek": "counts from another day in every engine. Write weekday(t), Monday = 0.",
    **dict.fromkeys(
        ("date_diff", "datediff"), "counts boundaries in some engines. Write since(later, earlier, 'h')."
    ),
}
NAMES = {
    "power": "pow",
    "ceiling": "ceil",
    "truncate": "trunc",
    "sgn": "sign",
    "ifnull": "fill_null",
    "nvl": "fill_null",
    "nullif": "null_if",
    "isnull": "is_null",
    "isnotnull": "is_not_null",
    "len": "length",
    "char_length": "length",
    "character_length": "length",
    "lcase": "lower",
    "ucase": "upper",
    "startswith": "starts_with",
    "prefix": "starts_with",
    "endswith": "ends_with",
    "suffix": "ends_with",
    "trim": "strip",
    "dayofmonth": "day",
    "dayofyear": "day_of_year",
    "weekofyear": "week",
    "iff": "when",
}
PARTS = {"doy": "day_of_year", "dayofyear": "day_of_year", "isodow": "weekday", "dayofmonth": "day"}
UNITS = {"millisecond": "ms", "second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w"}
CASTS = {
    "int": ("TINYINT", "SMALLINT", "INT", "BIGINT"),
    "float": ("FLOAT", "DOUBLE"),
    "bool": ("BOOLEAN",),
    "str": ("TEXT", "VARCHAR"),
}
