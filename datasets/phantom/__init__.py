"""Synthetic studies, written as the files of a real one."""
