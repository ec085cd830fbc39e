"""What a study tells a person that it cannot do."""


class StudyError(ValueError):
    """What was asked for cannot be done; the message is a sentence for a person."""


class Conflict(StudyError):  # noqa: N818  (as HTTP calls it)
    """Somebody else, or a counting, changed the field in the meantime: look at it again."""
