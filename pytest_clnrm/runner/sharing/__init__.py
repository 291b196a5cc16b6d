"""Containers that several scenarios and tests of a run use (docs/shared-services.md)."""
