"""Trained detectors as files that run without this project's model code.

``detector``  a detector as a function of one tensor, post-processing included
``dense``     that of any dense detector
``onnx_file`` writing it as ONNX
``package``   writing it as a package of PyTorch, compiled by AOTInductor
``metadata``  what a caller needs to know, stored inside the file
``export``    all of it: a model to a checked file
``check``     an exported detector against the one it was made of
``runtime``   running such a file
"""
