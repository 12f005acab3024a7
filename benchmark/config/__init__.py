"""What one run is, and grids of runs."""
