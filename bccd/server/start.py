"""From what a command line names to an open study."""

import logging
from pathlib import Path

from bccd.server.preferences import user_name
from bccd.study import Study, StudyError

logger = logging.getLogger(__name__)

STUDY = "study.db"
_UNNAMED = "bccd_study"
_NAMED = 10  # files that are left out


def open_study(
    path: str | None, folder: Path | None, model: str | None, database: str | None
) -> Study:
    """Open the study that a command line means; what it names is added and waits to be counted.

    Args:
        path: a study, a folder of images, an image or a slide; None: nothing was named.
        folder: of the study; None: chosen by ``path``.
        model: to count with; None: the study's.
        database: URL of SQLAlchemy; None: a file in the study's folder.

    Raises:
        StudyError: what is named cannot be used.
    """
    source = Path(path).expanduser() if path else None
    if source is not None and not source.exists():
        raise StudyError(f"{path} is not there: name a folder of images, an image, or a study")
    if source is not None and (source / STUDY).is_file():
        if folder is not None:
            raise StudyError(f"{path} is a study already: leave out --study")
        folder, source = source, None
    study = Study.open(folder or _folder_for(source), create=True, database=database)
    try:
        _take(study, source, model)
    except BaseException:
        study.close()
        raise
    return study


def _folder_for(source):
    return Path(_UNNAMED if source is None else f"{source.resolve().stem}_study")


def _take(study, source, model):
    who = user_name()
    if model is not None:
        own = {each.id for each in study.models()}
        model = model if model in own else study.add_model(model)
        if model != study.settings().model:
            study.change_settings(who, model=model)
    if source is None:
        return
    study.allow_folder(source if source.is_dir() else source.parent)
    added = study.add([str(source)], who)
    if not added.ids and added.refused and not study.totals().fields:
        name, sentence = added.refused[0]
        raise StudyError(f"{name}: {sentence}")
    for name, sentence in added.refused[:_NAMED]:
        logger.warning(f"{name} is left out: {sentence}")
    if len(added.refused) > _NAMED:
        logger.warning(f"{len(added.refused) - _NAMED} other files are left out, too")
    if added.ids:
        study.count(who)
