"""Wide images to a few numbers and back: principal components of any number of pictures, in flat memory."""

from estampa.reduce.pca import Pca, fit_pca
from estampa.reduce.reduction import Reduction

__all__ = ["Pca", "Reduction", "fit_pca"]
