"""Looking at containers and images from outside, for ``[[check]]``: a module for each kind."""
