"""Formats: a module for each kind of file that ships, which writes it, loads it and changes its `reid.json`."""
