"""What a step, a test and a wait for data cost on this machine, and how far from its limit that is."""
