"""Time and memory by stage, against the bare forward passes of the frozen models."""
