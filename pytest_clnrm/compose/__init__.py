"""From a file of Docker Compose to a scenario file (``clnrm import``)."""
