"""The version of this package, for the files that need it below `__init__`."""

__version__ = "0.1.0.dev0"
