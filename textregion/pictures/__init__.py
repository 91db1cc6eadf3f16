"""Pictures that need more than Pillow: arrays and tensors, numbers of more than 8 bits, TIFF's many kinds."""
