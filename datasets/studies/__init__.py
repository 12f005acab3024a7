"""What the suite knows of each study: its modalities, labels, regions and where its files lie."""
