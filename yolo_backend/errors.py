"""The errors of the service. What they say is meant for the person who can mend it."""


class BackendError(Exception):
    """Something the service can't do, said in a sentence that names the thing and the remedy."""


class ConfigError(BackendError):
    """A setting or a labeling config that can't be used."""


class MediaError(BackendError):
    """One task's image or video can't be fetched, opened or decoded."""


class WeightsError(BackendError):
    """Weights are missing, not allowed, or not what a control needs."""
