"""Checks of a dataset, those of `python -m keras_reid.doctor`."""
