"""One pytest session: its parts are made when first needed, results gathered, progress shown, all ended."""
