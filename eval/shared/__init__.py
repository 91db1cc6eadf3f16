"""What the evaluations share: metrics, records, the run over pictures, and drawn examples."""
