"""Backbones that Detectron2 lacks. Importing this package registers them."""

from bccd.modeling.backbones import slim_resnet, vgg
