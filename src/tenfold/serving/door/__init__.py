"""Who may pass, how often, how much, and whether the server is ready."""
