"""What pytest sees: scenario files and items, tags, the fixtures and their containers."""
