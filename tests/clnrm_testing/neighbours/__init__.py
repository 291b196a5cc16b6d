"""Other plugins of pytest beside ours: which ones, a suite that each runs, what has to come of it."""
