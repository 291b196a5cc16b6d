"""What runs tell of themselves while they run, and how that is shown."""
