"""The figures as a person reads them."""

from tabulate import tabulate

CEILING = "% of ceiling: product, copy"
HEADERS = (
    *("config", "network input", "M parameters", "GFLOP", "forward ms (quartiles)", CEILING),
    *("images/s (batch)", "train ms (quartiles)", CEILING, "peak MiB: forward, train"),
)


def _grid(rows, headers):
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def _spread(middle, quartiles, digits=0):
    low, high = quartiles
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _mib(value):
    return "unknown" if value is None else f"{value:.0f}"


def _shares(result, run):
    product, copy = result[f"{run}_share_of_product"], result[f"{run}_share_of_copy"]
    return f"{100 * product:.0f}, {100 * copy:.0f}"


def configs_table(results):
    """One row for each result of :func:`measure`."""
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


def split_table(result):
    """Milliseconds and percent of each part of one result of :func:`measure`."""
    forward, train = result["forward_split_ms"], result["train_split_ms"]
    names = [name for name in dict.fromkeys([*forward, *train]) if name != "rest"]

    def cells(parts, name):
        if name not in parts:
            return ["", ""]
        return [f"{parts[name]:.1f}", f"{100 * parts[name] / sum(parts.values()):.0f}"]

    rows = [[name, *cells(forward, name), *cells(train, name)] for name in [*names, "rest"]]
    return _grid(rows, (result["config"], "forward ms", "%", "train ms", "%"))


def ceiling_line(ceiling):
    """The machine's limits in a sentence."""
    products = [
        f"{key.split('_')[0]} {value:.0f} GFLOP/s"
        for key, value in ceiling.items()
        if key.endswith("gflops")
    ]
    return (
        f"Ceiling, measured: matrix product {', '.join(products)}; "
        f"memory copy {ceiling['copy_gb_s']:.1f} GB/s read and written"
    )


def contests_table(contests):
    """One row for each run of each contest; ratio above 1: the first is faster."""
    rows = [
        [
            *(c["first"], c["second"], c["run"]),
            *(_spread(c[key]["median"], c[key]["quartiles"]) for key in ("first_ms", "second_ms")),
            _spread(c["ratio"]["median"], c["ratio"]["quartiles"], digits=2),
            str(len(c["pairs"])),
            f"{_mib(c['first_peak_mib'])}, {_mib(c['second_peak_mib'])}",
        ]
        for c in contests
    ]
    headers = ("first", "second", "run", "first ms", "second ms", "ratio", "pairs", "peak MiB")
    return _grid(rows, headers)
