"""Containers that serve several scenarios: the proof, the shelf, idle leases (docs/pool.md)."""
