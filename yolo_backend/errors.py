"""The errors of the service. What they say is meant for the person who can mend it."""


class BackendError(Exception):
    """Something the service can't do, said in a sentence that names the thing and the remedy."""


class ConfigError(BackendError):
    """A setting or a labeling config that can't be used."""


class MediaError(BackendError):
    """One task's image or video can't be fetched, opened or decoded."""


class AbsentMediaError(MediaError):
    """A task's data has nothing where the labeling config shows something: there is nothing to fetch."""


class BodyTooLargeError(MediaError):
    """A server answers with more than is read."""


class WeightsError(BackendError):
    """Weights are missing, not allowed, or not what a control needs."""


class LabelStudioError(BackendError):
    """Label Studio refuses what it is asked, and would again.

    Attributes:
        status: of its answer; None if there was none.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class AnswerTooLargeError(LabelStudioError):
    """Label Studio answers with more than is read; part of it may be asked for."""


class LabelStudioAwayError(LabelStudioError):
    """Label Studio can't do what it is asked now, but may later.

    Attributes:
        unreachable: it did not even answer, so that it isn't known whether it did what it was asked.
        busy: it, or a proxy before it, turns everybody away.
    """

    def __init__(
        self, reason: str, *, status: int | None = None, unreachable: bool = False, busy: bool = False
    ) -> None:
        super().__init__(reason, status=status)
        self.unreachable = unreachable
        self.busy = busy


class WorkersLostError(BackendError):
    """Nobody is left to compute."""
