"""Recorded stages of the published behaviour on tiny models, and the comparison with ours."""
