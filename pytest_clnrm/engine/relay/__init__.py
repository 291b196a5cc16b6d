"""Connections to and from containers whose addresses are out of reach, over a container of ours."""
