"""The groups of commands of the `bench` program, a file each, and what their options share."""
