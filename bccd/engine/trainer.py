"""The training that ``train_net.py`` runs."""

import inspect
import logging
import os
from collections import OrderedDict

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, create_ddp_model, hooks
from detectron2.engine.train_loop import TrainerBase
from detectron2.evaluation import DatasetEvaluator, print_csv_format
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bccd.data.loading.loader import build_test_loader, build_train_loader, build_val_loss_loader
from bccd.data.records import load_records, model_class_names
from bccd.data.sources.by_path import folder_name
from bccd.engine.checkpoint import BCCDCheckpointer
from bccd.engine.checkpoint_classes import CheckpointClasses
from bccd.engine.classes import check_class_count, with_training_classes
from bccd.engine.ema import ModelEMA
from bccd.engine.expected_results import verify_expected_results
from bccd.engine.hooks import EarlyStop, EMAUpdate, PeriodicCheckpointer, Validation
from bccd.engine.optimizer import build_optimizer
from bccd.engine.rng import RandomState
from bccd.engine.step import TrainStep
from bccd.engine.validation_loss import validation_losses
from bccd.evaluation.evaluator import CHOOSE, BCCDEvaluator
from bccd.evaluation.inference import inference_on_dataset
from bccd.evaluation.operating_point import configured_thresholds
from bccd.modeling.precision import amp_dtype
from bccd.modeling.tta import with_tta

logger = logging.getLogger(__name__)

# Every process keeps its own running statistics. PyTorch has renamed the keyword, and warns.
LOCAL_BUFFERS = {
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers": False
}


class BCCDTrainer(DefaultTrainer):
    """Detectron2's DefaultTrainer on any device, that resumes as if it had not been interrupted.

    It validates on DATASETS.VAL; DATASETS.TEST is read by :meth:`test` alone. See ``bccd.config``
    for the keys it adds.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """Build all parts, in DefaultTrainer's order; the data loader follows on resume.

        Raises:
            ValueError: the model's classes are not those of DATASETS.VAL, or that has nothing to
                measure.
        """
        TrainerBase.__init__(self)
        cfg = with_training_classes(cfg)
        cfg.freeze()
        self.cfg = cfg = self.auto_scale_workers(cfg, comm.get_world_size())
        class_names = model_class_names(cfg)
        for name in cfg.DATASETS.VAL:  # the loader looks at DATASETS.TRAIN before it starts
            load_records(name, class_names, need_boxes=True)
        model = self.build_model(cfg)
        check_class_count(model, class_names)
        optimizer = self.build_optimizer(cfg, model)
        on_gpu = next(model.parameters()).is_cuda
        parallel = create_ddp_model(
            model,
            **LOCAL_BUFFERS,
            device_ids=[comm.get_local_rank()] if on_gpu else None,
        )
        self.unwrapped_model = model
        # Behind the wrapper, which gives all processes the weights of the first.
        self.ema = (
            ModelEMA(model, cfg.SOLVER.EMA.DECAY, cfg.SOLVER.EMA.WARMUP)
            if cfg.SOLVER.EMA.ENABLED
            else None
        )
        self._trainer = TrainStep(
            parallel,
            None,
            optimizer,
            accumulate=cfg.SOLVER.ACCUMULATE,
            amp_dtype=amp_dtype(cfg.SOLVER.AMP, on_gpu),
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.random_state = RandomState(
            cfg.SEED if cfg.SEED >= 0 else int(comm.shared_random_seed())
        )
        self.checkpointer = self.build_checkpointer()
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.last_results = None
        self.register_hooks(self.build_hooks())

    def build_checkpointer(self) -> BCCDCheckpointer:
        """A checkpointer of everything that a resumed training needs."""
        return BCCDCheckpointer(
            self.unwrapped_model,
            self.cfg.OUTPUT_DIR,
            ema=self.ema,
            reinit_mismatched=self.cfg.MODEL.REINIT_MISMATCHED,
            classes=CheckpointClasses(self.cfg, self.unwrapped_model),
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            grad_scaler=self._trainer.grad_scaler,
            rng=self.random_state,
        )

    def build_hooks(self) -> list[HookBase | None]:
        """Detectron2's hooks in its order, the periodic writer last."""
        cfg = self.cfg
        main = comm.is_main_process()
        validation = None
        if cfg.TEST.EVAL_PERIOD > 0 and not cfg.DATASETS.VAL:
            logger.warning(
                "TEST.EVAL_PERIOD has no effect: DATASETS.VAL, which it evaluates, is empty, so no "
                "best checkpoint is kept and no operating point chosen"
            )
        if cfg.DATASETS.VAL:
            early_stop = cfg.VALIDATION.EARLY_STOP
            validation = Validation(
                self.validate,
                self.checkpointer,
                period=cfg.TEST.EVAL_PERIOD,
                metric=cfg.VALIDATION.BEST_METRIC,
                patience=early_stop.PATIENCE if early_stop.ENABLED else 0,
            )
            self.checkpointer.add_checkpointable("validation", validation)
        return [
            hooks.IterationTimer(),
            hooks.LRScheduler(),
            EMAUpdate(self.ema, self.unwrapped_model) if self.ema else None,
            PeriodicCheckpointer(
                self.checkpointer,
                cfg.SOLVER.CHECKPOINT_PERIOD,
                max_to_keep=(cfg.SOLVER.CHECKPOINTS_TO_KEEP or None) if main else None,
            ),
            validation,
            hooks.PeriodicWriter(self.build_writers(), period=20) if main else None,
        ]

    def resume_or_load(self, resume: bool = True) -> None:
        """Load the last checkpoint of OUTPUT_DIR when resuming, else MODEL.WEIGHTS.

        Raises:
            FileNotFoundError, ValueError: see :meth:`BCCDCheckpointer.load`.
        """
        resume = resume and self.checkpointer.has_checkpoint()
        rest = self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        self.start_iter = rest.get("iteration", -1) + 1 if resume else 0

    def train(self) -> dict | None:
        """Train from ``start_iter`` on, then compare DATASETS.VAL with TEST.EXPECTED_RESULTS.

        Returns:
            dict or None: results of the last validation.
        """
        solver = self.cfg.SOLVER
        self.data_loader = self.build_train_loader(
            self.cfg,
            start_position=self.start_iter * solver.IMS_PER_BATCH * solver.ACCUMULATE,
            seed=self.random_state.seed,
        )
        try:
            TrainerBase.train(self, self.start_iter, self.max_iter)
        except EarlyStop as stop:
            logger.info(str(stop))
        if comm.is_main_process():
            weights = os.path.join(self.cfg.OUTPUT_DIR, "model_final.pth")
            verify_expected_results(self.cfg, self.cfg.DATASETS.VAL, self.last_results, weights)
        return self.last_results

    def validate(self) -> tuple[dict, dict | None]:
        """Evaluate the weights to deploy on DATASETS.VAL, and choose their operating points there.

        Returns:
            (results, operating points chosen on the first dataset), the same in all processes;
            the results nested by dataset if there are several.
        """
        cfg = self.cfg
        model = self.ema.module if self.ema else self.unwrapped_model
        results, chosen = OrderedDict(), None
        for name in cfg.DATASETS.VAL:
            evaluator = self.build_evaluator(
                cfg,
                name,
                _result_folder(cfg, "validation", name, cfg.DATASETS.VAL),
                operating_points=CHOOSE,
                bootstrap_samples=0,
            )
            loader = self.build_test_loader(cfg, name)
            results[name] = inference_on_dataset(model, loader, evaluator)
            if cfg.VALIDATION.LOSSES:
                losses = validation_losses(model, self.build_val_loss_loader(cfg, name))
                results[name].update(losses)
            chosen = chosen or evaluator.chosen_points
        self.last_results, chosen = comm.all_gather((_flatten_single(results), chosen))[0]
        return self.last_results, chosen

    @classmethod
    def test(
        cls, cfg: CfgNode, model: nn.Module, evaluators: list[DatasetEvaluator] | None = None
    ) -> dict:
        """Evaluate ``model`` on DATASETS.TEST, augmented as TEST.AUG says; see DefaultTrainer."""
        check_class_count(model, model_class_names(cfg))
        model, cfg = with_tta(model, cfg)
        evaluators = evaluators or [cls.build_evaluator(cfg, name) for name in cfg.DATASETS.TEST]
        results = OrderedDict()
        for name, evaluator in zip(cfg.DATASETS.TEST, evaluators, strict=True):
            loader = cls.build_test_loader(cfg, name)
            results[name] = inference_on_dataset(model, loader, evaluator)
            if comm.is_main_process():
                logger.info(f"Evaluation results for {name} in csv format:")
                print_csv_format(results[name])
        return _flatten_single(results)

    @classmethod
    def build_evaluator(
        cls, cfg: CfgNode, dataset_name: str, output_folder: str | None = None, **overrides: object
    ) -> BCCDEvaluator:
        """BCCDEvaluator by the config; ``overrides`` are arguments of its constructor."""
        if output_folder is None:
            output_folder = _result_folder(cfg, "inference", dataset_name, cfg.DATASETS.TEST)
        bootstrap, class_names = cfg.TEST.BOOTSTRAP, model_class_names(cfg)
        arguments = {
            "class_names": class_names,
            "class_colors": cfg.MODEL.CLASS_COLORS,
            "operating_points": configured_thresholds(cfg.TEST.OPERATING_POINTS, class_names),
            "bootstrap_samples": bootstrap.SAMPLES if bootstrap.ENABLED else 0,
            "iou": cfg.TEST.OPERATING_POINT_IOU,
        }
        return BCCDEvaluator(dataset_name, output_folder, **{**arguments, **overrides})

    build_optimizer = staticmethod(build_optimizer)
    build_train_loader = staticmethod(build_train_loader)
    build_test_loader = staticmethod(build_test_loader)
    build_val_loss_loader = staticmethod(build_val_loss_loader)


def _result_folder(cfg, kind, dataset_name, datasets):
    folder = os.path.join(cfg.OUTPUT_DIR, kind)
    return os.path.join(folder, folder_name(dataset_name)) if len(datasets) > 1 else folder


def _flatten_single(results):
    return next(iter(results.values())) if len(results) == 1 else results
