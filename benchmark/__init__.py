"""The `bench` program: from a grid of runs to the tables and plots of a paper."""
