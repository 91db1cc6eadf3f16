"""How TextRegion is scored: data sets, metrics and a rendered world; run from the checkout, not installed."""
