#!/usr/bin/env python3
"""Write models/<name>.onnx of shipped models anew, and note them in the cards.

    python tools/export_shipped.py
    python tools/export_shipped.py ssd_lite

tools/publish_model.py does it for the model that it publishes; this is for a change of bccd/export
or of what it uses. A file that does not detect what the checkpoint detects is not written.
"""

import argparse
import sys

from bccd import model_zoo
from bccd.console import refusing, script
from bccd.export.save import DifferentModelError
from bccd.export.shipped import renew_export


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every shipped model")
    args = parser.parse_args(argv)
    with refusing(DifferentModelError):
        for name in args.names or model_zoo.list_models():
            export = renew_export(name)
            print(f"models/{export['file']}: {export['bytes'] / 1e6:.1f} MB, {export['sha256']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
