"""The order of items, and which xdist worker gets which; docs/design/scheduler.md says how and why."""
