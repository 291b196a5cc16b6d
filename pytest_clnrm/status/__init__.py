"""The small file in which a process says what it is at."""
