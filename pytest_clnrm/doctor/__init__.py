"""``clnrm doctor``: what this machine, its engine and its settings would do to a run, each really tried."""
