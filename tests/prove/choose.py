"""Where a generator's choices come from: a seed, for the long run, or hypothesis, which finds the smallest failure."""

import random

from hypothesis import strategies as st


class Seeded:
    """Choices from a seed."""

    def __init__(self, seed):
        self._random = random.Random(seed)
        self.of = self._random.choice

    def number(self, least, most):
        """Return a whole number, both ends included."""
        return self._random.randint(least, most)

    def often(self, chance):
        """Return True with a chance."""
        return self._random.random() < chance

    def mixed(self, items):
        """Return the items in any order."""
        return self._random.sample(items, len(items))


class Drawn:
    """Choices that hypothesis makes, and makes simpler: the first of a sequence, the least number, False."""

    def __init__(self, draw):
        self._draw = draw

    def of(self, items):
        """Return one of a sequence."""
        return self._draw(st.sampled_from(items))

    def number(self, least, most):
        """Return a whole number, both ends included."""
        return self._draw(st.integers(least, most))

    def often(self, chance):
        """Return True with a chance."""
        return self._draw(st.integers(0, 99)) >= 100 - round(100 * chance)

    def mixed(self, items):
        """Return the items in any order."""
        return self._draw(st.permutations(items))
