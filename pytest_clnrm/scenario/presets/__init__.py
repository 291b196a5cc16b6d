"""Ready-made definitions of services: ``preset = "postgres"``. Data, ours and the user's."""
