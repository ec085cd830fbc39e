"""From an image to counts.

``detections``  what a detector found in one image, as arrays
"""
