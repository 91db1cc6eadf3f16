"""What the scripts share, and the scripts that train the miniatures."""
