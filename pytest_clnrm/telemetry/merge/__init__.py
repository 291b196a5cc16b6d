"""All spans of a run as one trace."""
