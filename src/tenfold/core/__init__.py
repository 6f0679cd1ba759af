"""Values and rules everybody shares: errors, durations, clocks, expressions, fingerprints. No I/O."""
