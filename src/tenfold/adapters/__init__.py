"""Real engines: one module and one extra each. None yet."""
