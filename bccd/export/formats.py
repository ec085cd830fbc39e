"""Writing a detector as ONNX (.onnx) or as a compiled AOTInductor package (.pt2)."""

import importlib.util
from contextlib import redirect_stdout
from io import StringIO

import torch
from torch.export import Dim

OPSET = 18  # ROIAlign with half-pixel coordinates is there from 16 on
# The smallest is the first that is padded to two cells of stride 64 in each direction.
MIN_SIDE, MAX_SIDE, MAX_BATCH = 65, 4096, 256
NEEDS = {".onnx": ("onnx", "onnxscript", "onnxruntime"), ".pt2": ()}


def check_suffix(path):
    """The format that the name of a file asks for.

    Raises:
        ValueError: another suffix than .onnx or .pt2.
        ImportError: a package for this format is missing.
    """
    if path.suffix not in NEEDS:
        raise ValueError(f"{path}: the name must end in {' or '.join(NEEDS)}")
    missing = [name for name in NEEDS[path.suffix] if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{path}: missing {', '.join(missing)}; install with: pip install 'bccd-detectron2"
            f"[export]', or pip install {' '.join(missing)}"
        )
    return path.suffix


def trace(detector, fixed_size=()):
    """Trace an ``ExportableDetector`` for any number and, without ``fixed_size``, size of images.

    Args:
        fixed_size: (height, width) of all images, or ().

    Returns:
        torch.export.ExportedProgram.
    """
    # Sizes in which no two dimensions are alike, so that none is taken for another.
    images = torch.zeros(2, *(fixed_size or (320, 416)), 3, dtype=torch.uint8)
    dynamic = {0: Dim("count", min=1, max=MAX_BATCH)}
    if not fixed_size:
        dynamic |= {i: Dim(n, min=MIN_SIDE, max=MAX_SIDE) for i, n in ((1, "height"), (2, "width"))}
    with torch.no_grad():
        return torch.export.export(
            detector,
            (images,),
            dynamic_shapes={"images": dynamic},
            # Sizes of feature maps are checked when it runs: tracing cannot solve for all of them.
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def write_onnx(program, path, strings):
    """Write an ExportedProgram as ONNX, weights inside, with ``strings`` as metadata_props."""
    with redirect_stdout(StringIO()):  # it reports its progress
        written = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["boxes", "scores", "classes"],
        )
    written.model.metadata_props.update(strings)
    written.save(str(path), external_data=False)


def write_aotinductor(program, path, strings):
    """Compile an ExportedProgram for this machine and write it with ``strings`` as metadata."""
    options = {"aot_inductor.metadata": strings}
    torch._inductor.aoti_compile_and_package(
        program, package_path=str(path), inductor_configs=options
    )


WRITERS = {".onnx": write_onnx, ".pt2": write_aotinductor}
