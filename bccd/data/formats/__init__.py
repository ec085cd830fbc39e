"""Annotation files and annotated images: Pascal VOC, COCO JSON, YOLO; readers and writers."""
