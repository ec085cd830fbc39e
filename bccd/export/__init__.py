"""Trained detectors as files that run without this project's model code.

``detector``  a detector as a function of one tensor, post-processing included
``formats``   writing ONNX and AOTInductor files with what a caller needs to know inside
``check``     an exported detector against the one it was made of
``runtime``   running such a file
"""
