"""TOML with places: where a key stands, and all mistakes of a document in words."""
