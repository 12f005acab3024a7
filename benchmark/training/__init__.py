"""One run: build, train, test, record."""
