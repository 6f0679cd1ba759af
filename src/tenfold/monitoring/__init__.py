"""9 data and model monitoring: profiles, drift, live quality, estimates without labels."""
