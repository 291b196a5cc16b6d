"""Reports: pure functions from results to files."""
