"""2 data processing, batch and streaming, and 3 preprocessing: columns, expressions, checks, quarantine, derived sources."""
