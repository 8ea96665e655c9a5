"""What an answer hangs on, pixels (occlusion maps) or columns of a table, through the bundle, with ONNX Runtime alone.

occlusion.py hides windows and measures what the answer loses, filling.py says what stands in their place, spots.py
hides and leaves only what matters most, regions.py adds up over a class, run.py is the verb, pages.py and shortcuts.py
are what people look at, overlay.py the pixels of the maps, brief.py the few maps of a run's report.

Of a table: importance.py shuffles columns, dependence.py follows them, reasons.py tells what each adds to one answer,
tree.py draws a tree, asking.py holds what they share, table.py is the verb, sections.py and drawings.py are what people
see.
"""

from estampa.explain.occlusion import occlude
from estampa.explain.result import Explained
from estampa.explain.run import explain

__all__ = ["Explained", "explain", "occlude"]
