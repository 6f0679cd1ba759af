"""From a world that fails to a small one: fewer questions, features and records, as long as it fails."""

from dataclasses import replace

from tenfold import FeatureView
from tests.prove import declare
from tests.prove.checks import failing, worlds


def smallest(name, world, seed):
    """Return a world that fails the same check and from which nothing can be left out."""

    def fails(smaller):
        return bool(failing(name, smaller, seed)[0])

    found, _, _ = failing(name, world, seed)
    world = fewer_features(world, {item.feature for item in found}, fails)
    for field in ("queries", "records", "queries", "records"):
        world = fewer(world, field, fails)
    return world


def fewer_features(world, names, fails):
    """Return the world with one feature, if it fails like that."""
    view = world.view
    for name in sorted(names):
        one = FeatureView(
            view.name, entity=view.entity, source=view.source, features={name: view.features[name]}
        )
        if fails(replace(world, view=one)):
            return replace(world, view=one)
    return world


def fewer(world, field, fails):
    """Return the world without the questions or records that it fails without, tried in halves, then one by one."""
    items = list(getattr(world, field))
    size = max(len(items) // 2, 1)
    while True:
        first = 0
        while first < len(items):
            rest = items[:first] + items[first + size :]
            if fails(replace(world, **{field: rest})):
                items = rest
            else:
                first += size
        if size == 1:
            return replace(world, **{field: items})
        size = max(size // 2, 1)


def report(failure):
    """Return a failure as text: the declaration, the history, the questions and the two answers."""
    name, seed = failure.check, failure.seed
    world = smallest(name, next(world for check, world in worlds(seed) if check == name), seed)
    found, asked, _ = failing(name, world, seed)
    values = ("number", "whole", "flag", "word", "moment", "price")
    shown = ("offset", "name", "place", "card", "branch", "event", "known", "arrival", "gone", *values)
    lines = [f"{name}: {failure.cells} cells differ with seed {seed}. The smallest world in which one does:"]
    lines += [declare.describe(world.view), "  records:"]
    lines += [f"    { ({field: record[field] for field in shown}) }" for record in world.records]
    lines.append("  questions:")
    for place, (key, at, own) in enumerate(asked):
        row = {field: own[field] for field in ("name", "place", *values)}
        lines.append(f"    {place}: key {key} at {at}, row {row}")
    lines += [f"  {item.feature}, question {item.query}: {item.one!r} and {item.two!r}" for item in found[:5]]
    return "\n".join([*lines, f"  again: python -m tests.prove --only --seed {seed}"])
