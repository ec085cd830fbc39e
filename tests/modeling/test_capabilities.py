"""What a detector offers is found on the model, or on modules inside it."""

import copy

import pytest
import torch
from detectron2.layers import Conv2d
from torch import nn
from torch.nn import functional as F

from bccd.benchmark.workload import reference_implementation
from bccd.export.detector import exportable, is_exportable
from bccd.modeling.capabilities import load_offered
from bccd.modeling.fast_inference.prepare import fold_normalization


class Nothing(nn.Module):
    pass


class Offers(nn.Module):
    exportable_form = "collections:OrderedDict"


def test_what_is_named_is_loaded_and_what_is_not_is_none():
    assert load_offered(Offers(), "exportable_form").__name__ == "OrderedDict"
    assert load_offered(Offers, "reference") is None
    assert is_exportable(Offers()) and not is_exportable(Nothing())
    with pytest.raises(ValueError, match="Nothing cannot be exported"):
        exportable(Nothing())


def test_a_detector_without_a_reference_is_named(cfg):
    cfg.MODEL.META_ARCHITECTURE = "RetinaNet"
    with pytest.raises(ValueError, match="RetinaNet has no reference implementation"):
        reference_implementation(cfg)


class Reparameterized(nn.Module):
    """A 3x3 and a 1x1 convolution, each with its normalisation, added: RepVGG's training form."""

    def __init__(self, channels):
        super().__init__()
        self.wide = Conv2d(
            *(channels, channels, 3), padding=1, bias=False, norm=nn.BatchNorm2d(channels)
        )
        self.narrow = Conv2d(channels, channels, 1, bias=False, norm=nn.BatchNorm2d(channels))

    def forward(self, x):
        return self.wide(x) if self.narrow is None else self.wide(x) + self.narrow(x)

    def fold(self):
        with torch.no_grad():
            self.wide.weight += F.pad(self.narrow.weight, (1, 1, 1, 1))
            self.wide.bias += self.narrow.bias
        self.narrow = None


def test_own_blocks_are_folded_after_their_normalisation():
    torch.manual_seed(0)
    model = nn.Sequential(Reparameterized(4), Reparameterized(4)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    folded, x = copy.deepcopy(model), torch.rand(2, 4, 8, 8)
    fold_normalization(folded)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-5)
    kinds = [type(module) for module in folded.modules() if not list(module.children())]
    assert kinds == [Conv2d, Conv2d]
