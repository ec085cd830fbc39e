"""Which anchors or predictions are to predict which ground truth; a rule a file.

``bipartite``     SSD: every ground truth its best anchor, further anchors by IoU
``labels``        class and box of each anchor, from such a matching

Pure functions in fp32, without gradient, and safe for boxes without area and images without any.
"""
