"""The command line: ``clnrm``, or ``python -m pytest_clnrm``. Each command is a file."""
