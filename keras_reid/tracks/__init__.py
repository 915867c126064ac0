"""Tracks: people whom somebody's tracker followed through recordings of one or many cameras."""
