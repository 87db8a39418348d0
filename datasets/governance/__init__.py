"""Licences, sources, splits by map, withdrawal, and what a checkpoint was trained on."""
