"""From a file of Docker Compose to a scenario file (``python -m pytest_clnrm import``)."""
