"""What all items of one process share, opened when first asked for."""
