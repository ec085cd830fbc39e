"""What happens between the steps of a training, beyond Detectron2's own hooks."""

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path

from detectron2.engine import HookBase, hooks
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from torch import nn

from bccd.atomic_files import write_atomically
from bccd.engine.checkpoint import BCCDCheckpointer
from bccd.engine.ema import ModelEMA
from bccd.engine.rng import preserved_rng

logger = logging.getLogger(__name__)


class EarlyStop(BaseException):
    """Ends the training loop; no ``Exception``, which Detectron2's loop would log as a failure."""


class EMAUpdate(HookBase):
    """Updates the averaged weights after every step, before the hooks that save or evaluate."""

    def __init__(self, ema: ModelEMA, model: nn.Module) -> None:
        """``model`` is not wrapped for distributed training."""
        self._ema = ema
        self._model = model

    def after_step(self) -> None:
        """Update the average."""
        self._ema.update(self._model)


class PeriodicCheckpointer(hooks.PeriodicCheckpointer):
    """Detectron2's hook that, after a resume, also counts the checkpoints from before it.

    It runs in all processes, because a checkpoint holds the states of all of them.
    """

    def before_train(self) -> None:
        """Find the periodic checkpoints of the run that is resumed."""
        super().before_train()
        if self.max_to_keep and self.trainer.start_iter > 0:
            folder = Path(self.checkpointer.save_dir)
            found = sorted(folder.glob(f"{self.file_prefix}_{'[0-9]' * 7}.pth"))
            self.recent_checkpoints = [str(file) for file in found]


class Validation(HookBase):
    """Evaluate on the validation data; keep the best checkpoint; stop when there is no progress.

    Like Detectron2's EvalHook, it runs after every ``period`` iterations and after the last, behind
    the checkpointer. If a kill ends the run between a checkpoint and its evaluation, the evaluation
    runs on resume, so that the best checkpoint and the early stop are the same as without the kill.
    EvalHook and BestCheckpointer have no state that a checkpoint could hold, and would start anew.
    """

    def __init__(
        self,
        evaluate: Callable[[], tuple[dict, dict | None]],
        checkpointer: BCCDCheckpointer,
        *,
        period: int,
        metric: str,
        patience: int,
    ) -> None:
        """Args:
        evaluate (callable): -> (nested dict of results, operating points), the same in all
            processes.
        checkpointer (BCCDCheckpointer): writes model_best and model_final.
        period (int): iterations between evaluations; 0: only after the last iteration.
        metric (str): key of the flattened results, larger is better, e.g. "bbox/AP".
        patience (int): evaluations in a row without a new best after which to stop; 0: never.
        """
        self._evaluate = evaluate
        self._checkpointer = checkpointer
        self._period = period
        self._metric = metric
        self._patience = patience
        self._state = {"iteration": -1, "best": None, "best_iteration": None, "without_best": 0}
        self._points = {"model_best": None, "model_final": None}

    def state_dict(self) -> dict:
        """Progress, best value and operating points so far."""
        return {**self._state, "operating_points": dict(self._points)}

    def load_state_dict(self, state: dict) -> None:
        """Counterpart of :meth:`state_dict`."""
        self._points = dict(state["operating_points"])
        self._state = {key: state[key] for key in self._state}

    def before_train(self) -> None:
        """Run the evaluation that was due when the resumed run ended."""
        last = self.trainer.start_iter - 1
        if self._is_due(last) and self._state["iteration"] < last:
            self.trainer.storage.iter = last
            self._validate(last)
        self._stop_without_progress(last)

    def after_step(self) -> None:
        """Evaluate if it is due. The last evaluation follows the training."""
        if self._is_due(self.trainer.iter):
            self._validate(self.trainer.iter)
            self._stop_without_progress(self.trainer.iter)

    def after_train(self) -> None:
        """Evaluate the final weights, unless the training failed or was stopped."""
        if self.trainer.iter >= self.trainer.max_iter:
            last = self.trainer.max_iter - 1
            self._validate(last)
            self._finish(last)

    def _is_due(self, iteration):
        if self._period <= 0 or not 0 <= iteration < self.trainer.max_iter - 1:
            return False
        return (iteration + 1) % self._period == 0

    def _validate(self, iteration):
        with preserved_rng():
            results, points = self._evaluate()
        scalars = {name: float(value) for name, value in flatten_results_dict(results).items()}
        finite = {name: value for name, value in scalars.items() if math.isfinite(value)}
        self.trainer.storage.put_scalars(smoothing_hint=False, **finite)
        self._points["model_final"] = points
        if self._state["iteration"] < iteration:  # else a finished run is resumed
            self._state["iteration"] = iteration
            self._compare(_metric(finite, self._metric), iteration)
        comm.synchronize()

    def _compare(self, value, iteration):
        state = self._state
        if value is None:
            logger.warning(f"VALIDATION.BEST_METRIC: the results have no finite {self._metric}")
        elif state["best"] is None or value > state["best"]:
            logger.info(f"New best {self._metric}: {value:.4f} at iteration {iteration}")
            state.update(best=value, best_iteration=iteration, without_best=0)
            self._points["model_best"] = self._points["model_final"]
            self._save("model_best", iteration)
            return
        state["without_best"] += 1

    def _save(self, name, iteration):
        # --resume goes on from the periodic checkpoints and the final one.
        self._checkpointer.save(
            name,
            tag=name != "model_best",
            iteration=iteration,
            operating_points=self._points[name],
        )

    def _stop_without_progress(self, iteration):
        if 0 < self._patience <= self._state["without_best"]:
            self._finish(iteration)
            raise EarlyStop(
                f"Stopped early after iteration {iteration}: {self._state['without_best']} "
                f"evaluations without a {self._metric} above {self._state['best']} of iteration "
                f"{self._state['best_iteration']}"
            )

    def _finish(self, iteration):
        """Store the operating points with the final weights, and all of them as JSON."""
        self._save("model_final", iteration)
        if comm.is_main_process():
            text = json.dumps(self._points, indent=2) + "\n"
            write_atomically(
                Path(self._checkpointer.save_dir) / "operating_points.json",
                lambda file: file.write(text.encode()),
            )


def _metric(scalars, name):
    """The value of a metric: of several data sets, the mean of theirs; None where it is not there.

    A metric that names its data set, ``SET/bbox/AP``, is of that one.
    """
    if name in scalars:
        return scalars[name]
    values = [value for key, value in scalars.items() if key.endswith(f"/{name}")]
    return sum(values) / len(values) if values else None
