"""The version, in one place that setup reads without importing the library."""

__version__ = "0.1.0"
