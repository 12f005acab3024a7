"""The truth about a run on disk: its files, its lease, its checkpoints."""
