"""Losses of detectors whose score is objectness times class probability, at anchor boxes.

``pairs``     which anchor is compared with which ground truth, and what may lack a label
``balanced``  YOLOv5's and YOLOv7's: CIoU and binary cross-entropies
``focal``     the BCCD paper's: focal loss, GIoU and L1

Shapes as in ``bccd.modeling.dense``, with ``S = 1 + K`` class outputs of an anchor, objectness
first; ``T`` pairs of an anchor and a ground truth on a feature map.
"""
