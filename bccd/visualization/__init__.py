"""Pictures of data, detections and results.

``drawing``   boxes, labels and a legend with counts on one image; like ``canvas`` (boxes and labels
              in pixels), ``labels`` (where they go), ``legend``, ``text`` and ``png``, it needs
              NumPy, OpenCV and Pillow alone
``visualizer``  the same drawing as Detectron2's Visualizer
``demo``      annotated copies of images and videos
``image_errors``  which errors are an image's, and which the run's
``count_notes``  why the count of an image should not be trusted
``detection_files``  detections and counts of many images as detections.json and counts.csv
``coco_file``, ``count_table``  each of the two
``recount``   the counts of a corrected detections.json
``progress``  the finished images of a run, from which a second start goes on
``dataset``   figures of a data set: class and box size histograms, fields, augmentations
``results``   figures of an evaluation: truth beside prediction, scores, counts
``errors``    annotated and detected cells, coloured by what became of each
``curves``    precision-recall and training curves
``style``     what all figures share: size, resolution, colours, saving

Figures are drawn off screen by matplotlib, without its global state.
"""
