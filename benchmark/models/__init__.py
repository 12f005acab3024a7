"""Trained networks in use: predict, test on other data, publish."""
