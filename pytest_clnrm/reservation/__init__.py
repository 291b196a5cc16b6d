"""How an item gets its lease: what it demands, the controller's gate, reserving in this process."""
