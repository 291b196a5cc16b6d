"""Helpers that know nothing of scenarios, engines or pytest."""
