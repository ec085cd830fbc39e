"""Package metadata.

projects/<Name>_BCCD/<package> becomes ``bccd.projects.<package>``, and models/ ``bccd/models/``.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def project_packages() -> dict[str, str]:
    """Map each package below projects/*_BCCD to its name below bccd.projects."""
    mapping = {}
    for project in sorted((ROOT / "projects").glob("*_BCCD")):
        for name in find_packages(str(project)):
            folder = Path("projects", project.name, *name.split("."))
            mapping[f"bccd.projects.{name}"] = folder.as_posix()
    return mapping


PROJECTS = project_packages()
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "bccd/__init__.py").read_text()).group(1)

setup(
    name="bccd-detectron2",
    version=VERSION,
    description="Detection and counting of blood cells with Sparse R-CNN and SSD on Detectron2",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=[*find_packages(include=["bccd", "bccd.*"]), *PROJECTS, "bccd.models"],
    package_dir={"": ".", **PROJECTS, "bccd.models": "models"},
    package_data={
        "bccd": ["py.typed"],
        "bccd.data.sources": ["splits/*.txt", "splits/folds/*.txt"],
        "bccd.visualization": ["fonts/*"],
        "bccd.server": ["assets/*", "assets/editor/*", "languages/*.json"],
        "bccd.models": ["*.safetensors", "*.onnx", "*.json", "*.md"],
    },
    python_requires=">=3.10,<3.15",
    # Counting alone, with one of the runtimes below: no PyTorch, no Detectron2.
    install_requires=[
        "numpy>=1.23.5",
        "opencv-python-headless>=4.6",
        "Pillow>=10.1",
        # images: TIFF's pages and depths (with the codecs of compressed pages), HEIC photographs
        "tifffile>=2025.5.10",
        "imagecodecs>=2025.3.30",
        "pi-heif>=1.0",
        # ROIs of ImageJ
        "roifile>=2025.5.10",
        # regions of interest
        "shapely>=2.0",
        "tqdm>=4.60",
    ],
    extras_require={
        "count": ["onnxruntime>=1.23"],
        # everything with PyTorch; tools/install_detectron2.py installs Detectron2
        "train": [
            "torch>=2.11",
            "torchvision>=0.26",
            "detectron2>=0.6",
            "fvcore>=0.1.5.post20221221",
            "iopath>=0.1.9",
            "safetensors>=0.4",
            "scipy>=1.9.3",
            "pycocotools>=2.0.6",
            "hotcoco>=1.3",
            "tabulate>=0.8.10",
            "matplotlib>=3.7",
        ],
        # bccd export, with "train"
        "export": ["onnx>=1.23", "onnxruntime>=1.23", "onnxscript>=0.7"],
        "openvino": ["openvino"],
        # bccd count of slides
        "slides": ["tiffslide>=2.5"],
        # bccd count --ray, with "count" or "train"
        "ray": ["ray>=2.40", "pyarrow>=17", "fsspec>=2024.6"],
        # bccd serve, with "count" or "train"; of other databases than SQLite, their drivers, too
        "serve": ["nicegui>=3.18", "sqlalchemy>=2.0.30", "openpyxl>=3.1", "reportlab>=4.2"],
        # make docs, with "train"
        "docs": ["sphinx>=8.1", "furo>=2025.9", "myst-parser>=4.0"],
    },
    entry_points={"console_scripts": ["bccd = bccd.cli:main"]},
)
