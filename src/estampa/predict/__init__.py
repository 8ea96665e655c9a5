"""Score data with a bundle: a table of id, class, probabilities, flags and the model's hash.

run.py holds `predict`, source.py what is scored, answers.py what is said of a block, output.py how rows are written,
journal.py how a killed run goes on, predictions.py the result and how files of predictions are read back.
"""

from estampa.predict.predictions import Predictions, read_predictions
from estampa.predict.run import predict

__all__ = ["Predictions", "predict", "read_predictions"]
