"""COCO metrics, counts, operating points and confidence intervals."""
