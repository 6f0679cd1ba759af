"""4 training pipeline: models, training sets as known then, fit, evaluate, package."""
