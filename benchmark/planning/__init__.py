"""What a grid takes before it starts: disk and hours."""
