"""Templates in scenario files: variables, functions, and the sandbox that renders them."""
