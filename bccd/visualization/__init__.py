"""Pictures of data, detections and results.

``drawing``   boxes, labels and a legend with counts on one image; like ``canvas`` (boxes and labels
              in pixels), ``labels`` (where they go), ``legend``, ``text`` and ``png``, it needs
              NumPy, OpenCV and Pillow alone
``visualizer``  the same drawing as Detectron2's Visualizer
``dataset``   figures of a data set: class and box size histograms, fields, augmentations
``results``   figures of an evaluation: truth beside prediction, scores, counts
``assignment``  which places of a detector learn which cell
``errors``    annotated and detected cells, coloured by what became of each
``curves``    precision-recall and training curves
``style``     what all figures share: size, resolution, colours, saving

Figures are drawn off screen by matplotlib, without its global state.
"""
