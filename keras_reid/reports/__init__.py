"""Reports: pages and pictures that show what a network does."""
