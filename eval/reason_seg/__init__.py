"""Multi-object grounding: ReasonSeg."""
