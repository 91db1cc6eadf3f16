"""The miniature CLIP: its pictures, model, training and scores."""
