"""What a scenario is, and how one is read from a file. Knows neither pytest nor an engine."""
