"""Training on top of Detectron2's: launching, the step, checkpoints, validation, prediction."""
