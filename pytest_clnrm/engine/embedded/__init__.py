"""An engine that is started where none answers, and shared by all who join it."""
