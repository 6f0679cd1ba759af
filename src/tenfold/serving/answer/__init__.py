"""From questions to stored answers: which version says what, alone or in groups, and what becomes of it."""
