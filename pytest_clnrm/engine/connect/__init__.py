"""Finding an engine and connecting to it."""
