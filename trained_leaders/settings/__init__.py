"""The worlds leaders are trained in: one file each, numpy only."""
