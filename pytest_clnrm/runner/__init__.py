"""Runs one scenario: services, steps, spans, clean-up."""
