"""The subcommands of ``bccd``, a module each.

A module ``train_on`` is the subcommand ``train-on``; it is found by its name and needs no entry
elsewhere. It has

``__doc__``                what ``bccd train-on --help`` says above the options
``SUMMARY``                one line for ``bccd --help``
``add_arguments(parser)``  adds its options; ``--json`` is there already
``run(args) -> int``       does the work; returns one of the exit statuses of ``bccd.console``

``bccd --help`` imports all of them, and ``bccd count`` works without PyTorch: modules import
PyTorch, Detectron2 and whatever needs them inside ``run``. Within ``run``, ``console.refusing``
surrounds the checks of what the user named, and ``console.show`` prints the outcome.
"""
