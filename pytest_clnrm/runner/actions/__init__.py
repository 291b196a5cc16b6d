"""What steps do: one module for each kind of action, and what all of them are given and give."""
