"""Reads the archives of images in place: compression, tars, layouts, layers."""
