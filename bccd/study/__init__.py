"""A study: fields of a smear, what was counted in them, and what was done by hand.

    from bccd.study import Study

    study = Study.open("my_study/", create=True)
    study.allow_folder("images/")
    study.add(["images/"], who="Lan")
    study.count(who="Lan")  # a worker process beside does it, see bccd.study.worker_process

Nothing here imports PyTorch, ONNX Runtime or a web framework, but the worker process.
"""

from bccd.study.errors import Conflict, StudyError
from bccd.study.study import Study

__all__ = ["Conflict", "Study", "StudyError"]
