"""Prepared cases on disk, read by crops."""
