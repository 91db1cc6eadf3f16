"""Semantic segmentation: the eight data sets through MMSegmentation."""
