"""A project of three sources and one small model, and a process that serves it: `python -m tests.examples.tiny HOME FD`."""

import json
import sys
from functools import partial
from pathlib import Path

from lightgbm import LGBMClassifier

from tenfold import Project, Release
from tests.examples import bare
from tests.examples.bare import (  # noqa: F401 - they are those of this project too
    ASK_AT,
    NOW,
    START,
    history,
    in_process,
    load,
    order,
    orders,
    outcomes,
    serve_app,
    shop_visits,
    this_order,
    visit,
    visits,
)

ESTIMATOR = LGBMClassifier(n_estimators=5, min_child_samples=5, n_jobs=1, verbosity=-1, random_state=1)


def model(features, estimator=ESTIMATOR, **how):
    return bare.model(features, estimator, **how)


late_order = model([shop_visits, this_order])
project = Project("tiny", releases=[Release(late_order)])
build, serve = (partial(function, project=project) for function in (bare.build, bare.serve))

if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), **json.loads(sys.argv[3] if sys.argv[3:] else "{}"))
