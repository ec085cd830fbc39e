"""What the detectors share: losses, one-to-one matching, backbones that Detectron2 lacks."""
