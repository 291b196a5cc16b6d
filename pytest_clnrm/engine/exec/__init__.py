"""Commands in running containers: through a shell that stays open, or each by an exec of its own."""
