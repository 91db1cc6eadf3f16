"""Trials that take minutes: ``python -m pytest tests/endurance -m endurance``."""
