"""Which pixels an answer hangs on: occlusion maps through the bundle, with ONNX Runtime alone.

occlusion.py hides windows and measures what the answer loses, filling.py says what stands in their place, spots.py
hides and leaves only what matters most, regions.py adds up over a class, run.py is the verb, pages.py and shortcuts.py
are what people look at, overlay.py the pixels of the maps, brief.py the few maps of a run's report.
"""

from estampa.explain.occlusion import occlude
from estampa.explain.result import Explained
from estampa.explain.run import explain

__all__ = ["Explained", "explain", "occlude"]
