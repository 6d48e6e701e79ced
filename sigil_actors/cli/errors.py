"""Errors of the command line itself."""

from sigil_actors.errors import Fault, ManifestError, SigilError


class UsageError(SigilError):
    """The command line can't be understood."""

    fault = Fault.CALLER


class InvalidInputError(SigilError):
    """Something that was given is wrong in itself."""

    fault = Fault.CALLER


class PathNotFoundError(SigilError):
    """A file or folder that was named isn't there."""

    fault = Fault.CALLER


class NothingHeldError(SigilError):
    """No version of the plugin waits to be approved."""

    fault = Fault.CALLER


class DemoFailedError(SigilError):
    """Something in the demo didn't go as it should."""


class ConfigError(ManifestError):
    """A configuration file can't be used; `problems` holds every reason found."""

    fault = Fault.OPERATOR
