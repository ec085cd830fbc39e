"""Which negatives a class loss leaves out."""

import pytest
import torch

from bccd.modeling.missing_labels import MissingLabels

CONFIDENT, DOUBTFUL = 2.0, -2.0


def one_image(*logits):
    """(1, A, 2) logits of A predictions of two classes."""
    return torch.tensor([logits])


def test_nothing_is_missing_by_default():
    logits = one_image([CONFIDENT, CONFIDENT])
    positive = torch.zeros(1, 1, 2, dtype=torch.bool)
    assert not MissingLabels(2)(logits, positive, None, None).any()


def test_all_negatives_of_a_class_that_is_not_annotated():
    logits = torch.zeros(2, 3, 2)
    positive = torch.zeros(2, 3, 2, dtype=torch.bool)
    positive[0, 1, 0] = True
    unlabelled = torch.tensor([[True, False], [False, False]])
    missing = MissingLabels(2)(logits, positive, unlabelled, None)
    assert missing[0, :, 0].tolist() == [True, False, True]
    assert not missing[0, :, 1].any() and not missing[1].any()


def test_confident_predictions_of_such_a_class_where_nothing_is_annotated():
    logits = one_image(
        [CONFIDENT, CONFIDENT],  # overlaps nothing; class 0 is one of CLASSES, class 1 is not
        [DOUBTFUL, CONFIDENT],
        [CONFIDENT, CONFIDENT],  # a duplicate of an annotated cell
    )
    positive = torch.zeros(1, 3, 2, dtype=torch.bool)
    overlap = torch.tensor([[0.05, 0.0, 0.4]])
    missing = MissingLabels(2, classes=[0])(logits, positive, None, overlap)
    assert missing[0].tolist() == [[True, False], [False, False], [False, False]]
    stages = MissingLabels(2, classes=[0])(
        logits.expand(4, 1, 3, 2), positive.expand(4, 1, 3, 2), None, overlap.expand(4, 1, 3)
    )
    assert torch.equal(stages, missing.expand(4, 1, 3, 2))


@pytest.mark.parametrize(
    ("key", "value"),
    [("CLASSES", ("Platlets",)), ("CLASSES", ()), ("MIN_SCORE", 1.5), ("MAX_IOU", -0.1)],
)
def test_a_wrong_value_names_the_key(cfg, key, value):
    cfg.MODEL.MISSING_LABELS.ENABLED, cfg.MODEL.MISSING_LABELS.CLASSES = True, ("RBC",)
    cfg.MODEL.MISSING_LABELS[key] = value
    with pytest.raises(ValueError, match=f"MODEL.MISSING_LABELS.*{key}"):
        MissingLabels.build(cfg, 3)


def test_another_number_of_classes_is_refused_and_never_broadcast():
    logits, positive = torch.zeros(1, 3, 1), torch.zeros(1, 3, 1, dtype=torch.bool)
    unlabelled = torch.tensor([[True, False, False]])
    with pytest.raises(ValueError, match="unlabelled has 3 classes, but the model predicts 1"):
        MissingLabels(1)(logits, positive, unlabelled, None)
    with pytest.raises(ValueError, match="has class 2, but the model predicts 1"):
        MissingLabels(1, classes=[0, 2])


@pytest.mark.parametrize(
    "config", ["SSD/ssd_lite_bccd.yaml", "SparseRCNN/sparse_rcnn_lite_bccd.yaml"]
)
def test_detectors_leave_them_out(cfg, request, config):
    from detectron2.modeling import build_model
    from detectron2.structures import Boxes, Instances

    cfg.merge_from_file(str(request.config.rootpath / "configs" / config))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 16
    cfg.MODEL.SparseRCNN.PRIOR_PROB = cfg.MODEL.SSD.PRIOR_PROB = 0.9  # confident of everything
    empty = Instances(
        (128, 128), gt_boxes=Boxes(torch.zeros(0, 4)), gt_classes=torch.zeros(0).long()
    )
    inputs = [{"image": torch.zeros(3, 128, 128, dtype=torch.uint8), "instances": empty}]
    totals = []
    for classes in ((), ("RBC",), ("RBC", "WBC", "Platelets")):
        cfg.MODEL.MISSING_LABELS.ENABLED = len(classes) > 0
        cfg.MODEL.MISSING_LABELS.CLASSES = classes
        torch.manual_seed(0)
        losses = build_model(cfg).train()(inputs)
        totals.append(sum(float(loss.detach()) for loss in losses.values()))
    assert totals[0] > 1.2 * totals[1] > 0 and totals[2] < 0.1 * totals[0]
