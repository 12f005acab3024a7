"""Methods that PASSION is compared with, one file each; all build on `passion.baseline`."""
