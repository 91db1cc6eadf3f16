"""How TextRegion is scored, a folder a task; run from the checkout, not installed."""
