"""The same questions in every shape that clients send, and what is said of them."""
