"""Faults put in by a program, one at a time, to see whether the tests notice.

``python -m tests.mutations --count 400 --seed 0`` tries that many; the options are in ``--help``.
"""
