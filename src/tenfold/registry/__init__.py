"""8 model registry: numbered model versions, the stage of each, and the history of every move."""
