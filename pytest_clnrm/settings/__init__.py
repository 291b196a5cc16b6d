"""What a run is told: command line, ini file, `.clnrm/config.toml` (docs/configuration.md)."""
