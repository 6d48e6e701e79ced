"""Which version of the plugin contract this runtime speaks, and which of them a plugin takes."""

from typing import Final

CONTRACT_VERSION: Final = "1.0.0"
"""The version of the plugin contract; a plugin asks for a range of these as `engine`."""
