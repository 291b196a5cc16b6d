"""The canonical form of a file: its types, rules, JSON Schema, and what is built from it."""
