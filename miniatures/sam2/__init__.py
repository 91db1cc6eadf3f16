"""The miniature SAM 2: its clicks, training and scores."""
