"""The state of a key: what it looks like as bytes, how records are folded into it, and how features are read from it."""
