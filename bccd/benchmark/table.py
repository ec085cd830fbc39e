"""The figures as a person reads them."""

from collections.abc import Sequence

from tabulate import tabulate

CEILING = "% of ceiling: operations, copy"
HEADERS = (
    *("config", "network input", "M parameters", "GFLOP", "forward ms (quartiles)", CEILING),
    *("images/s (batch)", "train ms (quartiles)", CEILING, "peak MiB: forward, train"),
)


def _grid(rows, headers):
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def _spread(middle, quartiles, digits=0):
    low, high = quartiles
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def _mib(value):
    return "unknown" if value is None else f"{value:.0f}"


def _shares(result, run):
    operations, copy = result[f"{run}_share_of_operations"], result[f"{run}_share_of_copy"]
    return f"{100 * operations:.0f}, {100 * copy:.0f}"


def configs_table(results: Sequence[dict]) -> str:
    """One row for each result of :func:`.measure`."""
    rows = []
    for r in results:
        height, width = r["network_input"]
        rows.append(
            [
                *(r["config"], f"{height}x{width}"),
                *(f"{r['parameters'] / 1e6:.1f}", f"{r['gflop']:.1f}"),
                _spread(r["forward"]["median_ms"], r["forward"]["quartile_ms"]),
                _shares(r, "forward"),
                f"{r['throughput']['best']:.1f} ({r['throughput']['best_batch']})",
                _spread(r["train"]["median_ms"], r["train"]["quartile_ms"]),
                f"{_shares(r, 'train')} ({r['train_precision']})",
                f"{_mib(r['forward_peak_mib'])}, {_mib(r['train_peak_mib'])}",
            ]
        )
    return _grid(rows, HEADERS)


def split_table(result: dict) -> str:
    """Milliseconds and percent of each part of one result of :func:`.measure`."""
    forward, train = result["forward_split_ms"], result["train_split_ms"]
    names = [name for name in dict.fromkeys([*forward, *train]) if name != "rest"]

    def cells(parts, name):
        if name not in parts:
            return ["", ""]
        return [f"{parts[name]:.1f}", f"{100 * parts[name] / sum(parts.values()):.0f}"]

    rows = [[name, *cells(forward, name), *cells(train, name)] for name in [*names, "rest"]]
    return _grid(rows, (result["config"], "forward ms", "%", "train ms", "%"))


def ceiling_line(ceiling: dict) -> str:
    """The machine's limits in a sentence."""
    limits = [
        f"{what} {', '.join(f'{value:.0f} GFLOP/s in {name}' for name, value in by_type.items())}"
        for what, by_type in ceiling.items()
        if what in ("product", "convolution")
    ]
    return (
        f"Ceiling, measured: {'; '.join(limits)}; memory copy {ceiling['copy_gb_s']:.1f} GB/s read "
        "and written"
    )


def comparisons_table(comparisons: Sequence[dict]) -> str:
    """One row for each run of each comparison; ratio above 1: the first is faster."""
    rows = [
        [
            *(c["first"], c["second"], c["run"]),
            *(_spread(c[key]["median"], c[key]["quartiles"]) for key in ("first_ms", "second_ms")),
            _spread(c["ratio"]["median"], c["ratio"]["quartiles"], digits=2),
            str(len(c["pairs"])),
            f"{_mib(c['first_peak_mib'])}, {_mib(c['second_peak_mib'])}",
        ]
        for c in comparisons
    ]
    headers = ("first", "second", "run", "first ms", "second ms", "ratio", "pairs", "peak MiB")
    return _grid(rows, headers)


def exports_table(files: Sequence[dict]) -> str:
    """One row for each file of ``tools/evaluate_export.py``; MAE is of the counts of an image."""
    rows = [
        [
            file["file"],
            *(_number(file[metric], 1) for metric in ("AP", "AP50", "AP75")),
            _number(file["MAE"], 2),
            _spread(file["milliseconds"]["median"], file["milliseconds"]["quartiles"], digits=1),
            _spread(file["speedup"]["median"], file["speedup"]["quartiles"], digits=2),
        ]
        for file in files
    ]
    headers = ("file", "AP", "AP50", "AP75", "MAE", "ms an image (quartiles)", "times faster")
    return _grid(rows, headers)


def streaming_table(runs: Sequence[dict]) -> str:
    """One row for each run of ``tools/stream_check.py``."""
    columns = {
        "images/s": ("images_per_second", 1),
        "times the first run": ("speed_of_first_run", 2),
        "CPU ms an image": ("cpu_ms_per_image", 1),
        "first image after s": ("seconds_to_first_image", 1),
        "seconds": ("seconds", 0),
        "peak MiB": ("peak_mib", 0),
    }
    rows = [
        [
            *(run["processes"], run["cores"]),
            *(_number(run[key], digits) for key, digits in columns.values()),
            ", ".join(_number(mib, 0) for mib in run["mib_of_tenths"]),
        ]
        for run in runs
    ]
    return _grid(rows, ("processes", "cores", *columns, "MiB in each tenth"))


def archive_table(runs: Sequence[dict]) -> str:
    """One row for each run of ``tools/measure_archive.py``."""
    columns = {
        "images": ("images", 0),
        "seconds": ("seconds", 0),
        "images/s": ("images_per_second", 1),
        "CPU ms an image": ("cpu_ms_per_image", 0),
        "MiB of the command": ("command_mib", 0),
    }
    same = {True: "yes", False: "NO", None: ""}
    rows = [
        [
            *(run["run"], run["cores"]),
            *(_number(run[key], digits) for key, digits in columns.values()),
            same[run["same"]],
        ]
        for run in runs
    ]
    return _grid(rows, ("run", "cores", *columns, "rows of the plain command"))


def drawing_table(pictures: Sequence[dict]) -> str:
    """One row for each kind of field of :func:`bccd.benchmark.drawing.measure_drawing`."""
    rows = [
        [
            *(each["field"], _number(each["cells"], 0)),
            *(
                _spread(each[key]["median"], each[key]["quartiles"], digits=1)
                for key in ("draw_ms", "write_ms")
            ),
            *(_number(each[key], 0) for key in ("pictures_per_second", "kilobytes")),
            _spread(each["detectron2_ms"]["median"], each["detectron2_ms"]["quartiles"]),
            _spread(each["speedup"]["median"], each["speedup"]["quartiles"]),
        ]
        for each in pictures
    ]
    columns = ("field", "cells", "draw CPU ms (quartiles)", "write", "pictures/s", "kB")
    return _grid(rows, (*columns, "Detectron2's Visualizer", "times as fast"))


def startup_table(starts: Sequence[dict]) -> str:
    """One row for each way of :func:`bccd.benchmark.startup.time_starts`."""
    rows = [
        [
            each["way"],
            *(
                _spread(each[key]["median"], each[key]["quartiles"], digits=2)
                for key in ("seconds", "cpu_seconds")
            ),
            _number(each["target"], 1),
            each["seconds"]["runs"],
        ]
        for each in starts
    ]
    columns = ("demo.py with", "seconds (quartiles)", "of all cores", "target", "runs")
    return _grid(rows, columns)


def busy_table(rows: Sequence[dict]) -> str:
    """One row for each bound of :func:`bccd.benchmark.busy.measure_busy`."""
    cells = [
        [
            f"{row['spin']} ({row['count']:,})",
            *(
                _spread(row[key]["median"], row[key]["quartiles"], digits=1)
                for key in ("alone_ms", "busy_ms")
            ),
            row["others"],
            f"{row['share_ratio']:.2f}",
        ]
        for row in rows
    ]
    columns = ("GOMP_SPINCOUNT", "alone ms (quartiles)", "beside others", "others")
    return _grid(cells, (*columns, "times the time of a fair share"))


def trade_off_table(variants: Sequence[dict]) -> str:
    """One row for each variant of :func:`bccd.benchmark.trade_off.measure_trade_off`."""
    rows = [
        [
            *variant["options"].values(),
            *(f"{variant[metric]:.1f}" for metric in ("AP", "AP75")),
            _spread(variant["ms"]["median"], variant["ms"]["quartiles"], digits=1),
            f"{variant['ratio']['median']:.2f}",
        ]
        for variant in variants
    ]
    headers = (*variants[0]["options"], "AP", "AP75", "ms an image (quartiles)", "times faster")
    return _grid(rows, headers)
