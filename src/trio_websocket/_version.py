"""The version, in the one place that everything else reads it from."""

__version__ = "0.13.0.dev0"
