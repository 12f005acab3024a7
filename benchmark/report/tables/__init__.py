"""The tables of a report, in Markdown, LaTeX, csv and HTML."""
