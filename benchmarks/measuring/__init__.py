"""What all benchmarks share: rounds, figures, runs of pytest, the machine, the table."""
