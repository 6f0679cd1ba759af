"""The closed list of functions of one row."""

# name -> result type; "number" is int for ints and float otherwise, "same" the type of the inputs or, mixed, "number"
FUNCTIONS = {
    "add": "number",
    "sub": "number",
    "mul": "number",
    "div": "float",
    "neg": "number",
    "abs": "number",
    "eq": "bool",
    "ne": "bool",
    "lt": "bool",
    "le": "bool",
    "gt": "bool",
    "ge": "bool",
    "and": "bool",
    "or": "bool",
    "not": "bool",
    "is_null": "bool",
    "fill_null": "same",
    "hour": "int",
    "minute_of_day": "int",
    "weekday": "int",
    "month": "int",
    "age": "float",
}
