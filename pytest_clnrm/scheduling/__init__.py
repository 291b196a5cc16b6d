"""Order of items, strict priority over pytest-xdist's workers, elastic workers.

``order`` sorts what was collected. ``facts`` tells the controller what only workers know. ``work`` is the
pure queue, ``strict`` feeds workers from it, ``choice`` picks between it and xdist's own ``load``.
``parking`` is the worker's side, ``tickets`` carries to it what was reserved. ``local`` reserves where no
controller does. ``install`` registers all of it.
"""
