"""From the files of a study to a store: find, check, crop, normalise."""
