"""What is counted and traced of requests."""
