"""Synthetic dataset: rendered pedestrians in Market-1501's layout."""
