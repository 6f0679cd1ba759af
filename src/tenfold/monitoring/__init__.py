"""9 data and model monitoring: checks, performance on matured outcomes, drift, skew, freshness."""
