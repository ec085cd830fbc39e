"""``python -m tiny_demo FLAGS`` is demo.py that knows the tiny detectors. Not a test itself."""

import sys

import tiny_training  # noqa: F401  registers the detectors

import demo

if __name__ == "__main__":
    sys.exit(demo.main())
