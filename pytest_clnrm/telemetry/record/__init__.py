"""The run's own spans: recorded, and written for the merge."""
