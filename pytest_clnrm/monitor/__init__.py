"""How running runs are shown: on their own terminal, in a log, and to ``clnrm status``."""
