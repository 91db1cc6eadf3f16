"""Miniature models that know rendered scenes; see MODEL_CARD.md."""
