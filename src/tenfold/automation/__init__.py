"""10 CI/CD for ML: durable runs, the record of decisions, release and the loop around them."""
