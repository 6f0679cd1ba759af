"""What a version goes by."""

from typing import Any

from tenfold.training.material import Material
from tenfold.training.model import Model
from tenfold.training.predictor import Predictor


def explanation(model: Model, material: Material, predictor: Predictor) -> dict[str, Any]:
    """Return the share of each feature, and what to look at before the version is trusted."""
    shares = predictor.importance().tolist()
    return {
        "importance": dict(zip(model.columns, shares, strict=True)),
        "importance_of": "gain",
        "warnings": [],
    }
