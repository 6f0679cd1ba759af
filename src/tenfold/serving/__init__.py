"""5 inference: one row over HTTP, many rows in batch, and the log of every prediction."""
