"""What a report is made of: runs, their rows and scores."""
