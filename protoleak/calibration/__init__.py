"""Data splits, metric heads, densities, conformal calibration and metrics: what is fitted after training."""
