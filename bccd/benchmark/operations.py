"""Floating-point operations of a model, counted while it runs."""

from torch.utils.flop_counter import FlopCounterMode


def count_flops(model, batch):
    """Operations of convolutions and matrix products; a multiply-add is two.

    The rest (normalisation, ROIAlign, NMS, ...) is not counted. A training model is counted with
    its backward pass; its gradients are left as they then are.

    Args:
        model (nn.Module): follows Detectron2's model contract.
        batch (list[dict]): its input.

    Returns:
        dict: GFLOP as ``total`` and, of the forward pass of a model that has one, ``backbone``.
    """
    # The counter's hooks need gradients to be on.
    with FlopCounterMode(display=False) as counter:
        output = model(batch)
        if model.training:
            sum(output.values()).backward()
    counts = {"total": counter.get_total_flops() / 1e9}
    backbone = counter.get_flop_counts().get(f"{type(model).__name__}.backbone")
    if backbone and not model.training:
        counts["backbone"] = sum(backbone.values()) / 1e9
    return counts
