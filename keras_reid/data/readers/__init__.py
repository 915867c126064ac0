"""Readers: a downloaded dataset, or one's own images, as a catalog."""
