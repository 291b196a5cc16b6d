"""Judging what was seen from outside of a container or of an image; pure, a module for each kind."""
