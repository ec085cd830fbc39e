"""From an image to counts.

``counter``     :class:`~bccd.counting.counter.CellCounter`, the door for programs
``result``      what it gives for an image
``images``      what it takes as one: paths, arrays, PIL images
``load``        the detector that a name or a path stands for
``predictor``   a detector in PyTorch (``bccd.export.runtime`` has those of exported files)
``thresholds``, ``count_notes``  from which score a detection counts, and when not to trust a count
``pipeline``, ``stream``  one image after another: reading ahead of the model, drawing behind it
``run``         a run of the command line: ``options``, ``inputs``, ``folder`` or ``video``,
                ``progress`` (a second start goes on), ``several`` (processes), ``report``
``pictures``    images with their cells drawn
``detection_files``, ``coco_file``, ``count_table``, ``result_files``  detections.json, counts.csv
``recount``     the counts of a corrected detections.json

None of them needs PyTorch but ``predictor`` and ``several``.
"""
