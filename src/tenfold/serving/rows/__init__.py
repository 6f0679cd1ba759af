"""What is known of the rows that are asked about: their check, their features, one at a time or together."""
