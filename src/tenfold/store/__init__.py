"""6 feature store: offline history, online state, point-in-time training sets, materialisation."""
