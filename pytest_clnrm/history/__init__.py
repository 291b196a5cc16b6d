"""What earlier runs have shown of each item: how long it took, how it ended, how much memory it used."""
