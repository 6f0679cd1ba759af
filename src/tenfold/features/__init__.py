"""3 feature engineering: entities, feature views, and the one kernel that computes them everywhere."""
