"""The kernel: exact aggregates over windows as of any moment."""
