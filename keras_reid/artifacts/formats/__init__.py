"""Formats: one module for each kind of file that ships, with how it is written, loaded and described; `table` lists them."""
