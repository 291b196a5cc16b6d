"""One pytest session: makes the parts when first needed, gathers results, shows progress, ends cleanly."""
