"""pytest-clnrm: run TOML scenario files in containers, as pytest items.

The plugin is loaded by pytest through its entry point; see the README for its options and
docs/scenario-format.md for the files it collects.
"""

__version__ = "0.1.0"
