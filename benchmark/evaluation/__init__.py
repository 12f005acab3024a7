"""From a trained network and a case to scores: windows, metrics, slices to look at."""
