"""Blood-cell detection and counting on Detectron2: what every detector of this project shares."""

import bccd.openmp

__version__ = "0.1.0"
