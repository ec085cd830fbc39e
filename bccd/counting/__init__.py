"""From an image to counts.

``arguments``   the flags of counting
``build``       the predictor that they describe
``run``         from the flags to the result files
``several``     the same in several processes
``report``      what a run logs, and its exit status
``detections``  what a detector found in one image, as arrays
"""
