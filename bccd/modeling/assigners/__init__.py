"""Which anchors or predictions are to predict which ground truth; a rule a file.

``bipartite``     SSD: every ground truth its best anchor, further anchors by IoU
``labels``        class and box of each anchor, from a matching by IoU
``uniform``       YOLOF: as many nearest anchors and predictions for every ground truth
``task_aligned``  TOOD, YOLOv8: the anchors that classify and overlap a ground truth best
``best_anchor``   YOLOv3: one anchor for each ground truth, of the most similar shape
``neighbour_cells``  YOLOv5, YOLOv7: anchors of similar shape in the nearest cells
``dynamic_k``     SimOTA, YOLOv7: as many of them as overlap a ground truth well, the cheapest first

Pure functions in fp32, without gradient, and safe for boxes without area and images without any.
"""
