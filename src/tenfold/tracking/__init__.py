"""7 experiment tracking: what every training run used, measured and made."""
