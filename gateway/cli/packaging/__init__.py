"""Builds images: packs a folder with the packages that its requirements.txt asks for."""
