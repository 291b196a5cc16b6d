"""Other spellings of scenario files, turned into the canonical form."""
