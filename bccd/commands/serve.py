"""Open a page in the browser: count fields, look at them, correct them, and report.

Examples:
    bccd serve
    bccd serve my_images/
    bccd serve slide.svs --model sparse_rcnn_lite
    bccd serve my_images_study/
    bccd serve my_images/ --host 0.0.0.0 --port 8765 --no-browser

PATH is a study, which is a folder that this command has made before, or a folder of images, an
image or a slide: its study is then made in the current directory, as my_images_study. Without
PATH, it is bccd_study, and images are dropped into the page. Nothing is loaded from elsewhere, so
the page works without a network. Only this computer can reach it, unless --host says otherwise;
then a token is needed, which is part of the address that is printed.
"""

import argparse
from pathlib import Path

from bccd.console import DONE, refusing, show

SUMMARY = "look at fields, correct and count them in the browser"
PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "path", nargs="?", metavar="PATH", help="a study, or a folder of images, an image, a slide"
    )
    parser.add_argument("--study", type=Path, metavar="DIR", help="folder of the study")
    parser.add_argument(
        "--database",
        metavar="URL",
        help="where the study is kept instead of study.db in its folder: a URL of SQLAlchemy, as "
        "postgresql+pg8000://user:password@host/name",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0: any free one")
    parser.add_argument("--token", help="that a browser must bring; default: a new one with --host")
    parser.add_argument("--model", metavar="NAME_OR_FILE", help="to count with")
    parser.add_argument("--no-browser", action="store_true", help="open no browser")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C; returns the exit status."""
    with refusing():
        try:
            from bccd.server.app import choose_address, serve
        except ModuleNotFoundError as error:
            raise ValueError(
                f"bccd serve needs the package {error.name}: pip install 'bccd-detectron2[serve]'"
            ) from None
        from bccd.server.start import open_study

        study = open_study(args.path, args.study, args.model, args.database)
        address = choose_address(args.host, args.port, args.token)
    text = f"The study is in {study.folder}\nThe page is at {address.url}\nStop it with Ctrl-C."
    show(args, {"study": str(study.folder), "address": address.url}, text)
    with study:
        serve(study, address, browser=not args.no_browser)
    return DONE
