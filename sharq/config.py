"""The settings, where users import them from."""

from sharq.settings.reading import Settings

__all__ = ["Settings"]
