"""The schema of the settings, their defaults and the loader."""
