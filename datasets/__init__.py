"""From files on disk to batches: descriptions of studies, checking, preparation, missingness, loading."""
