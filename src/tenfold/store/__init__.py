"""6 feature store: features from history as known then, state per key online, and the worker that keeps both current."""
