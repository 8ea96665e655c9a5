"""One ONNX model under ONNX Runtime: pictures, or a table's prepared rows, in; answers out, in flat memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa import machine
from estampa.bundle.contract import InputContract, describe
from estampa.bundle.contract_table import TableContract
from estampa.errors import BundleError, ContractError

INPUT, TABLE_INPUT = "images", "table"  #: what the graph calls what it reads
OUTPUTS = ("output", "logits", "embedding")
_BATCH_PIXELS, _BATCH_LEAST, _BATCH_MOST = 32768, 4, 64


@dataclass(frozen=True)
class Scores:
    """What the model says of n pictures or rows, float32.

    `output`: probabilities (n, classes) or values (n,). `logits` (n, classes): classification only.
    `embedding` (n, e): the vector that a net's last layer reads.
    """

    output: np.ndarray
    logits: np.ndarray | None = None
    embedding: np.ndarray | None = None


def batch_size(contract: InputContract | TableContract) -> int:
    """Rows scored together: as many pictures as keep a net's activations within a processor's cache.

    It depends on the contract alone, never on the machine or on timing, so that the same data give the same batches,
    and so the same bits, in a run that was killed and resumed.
    """
    if isinstance(contract, TableContract):
        return contract.batch
    return min(max(_BATCH_PIXELS // (contract.shape[0] * contract.shape[1]), _BATCH_LEAST), _BATCH_MOST)


class Session:
    """An ONNX model, ready to score; many threads may use one Session at once.

    Each batch runs on one thread, and several batches run side by side: no threads wait for each other within a
    layer, and the answer to a picture does not depend on how many threads there are.
    """

    def __init__(self, model: bytes, contract: InputContract | TableContract, where: object = "model.onnx") -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _runtime_errors() as error:
            raise BundleError("ONNX Runtime refuses the model", where=where, got=str(error).splitlines()[0]) from error
        self.contract, self.where = contract, where
        self._input = TABLE_INPUT if isinstance(contract, TableContract) else INPUT
        self._check_signature()

    def _check_signature(self) -> None:
        """The graph's input and outputs must be what the contract says."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        dtype = {"float32": "float"}.get(self.contract.dtype, self.contract.dtype)
        good = (
            len(inputs) == 1
            and inputs[0].name == self._input
            and inputs[0].type == f"tensor({dtype})"
            and len(inputs[0].shape) == len(self.contract.shape) + 1
            and not isinstance(inputs[0].shape[0], int)
            and tuple(inputs[0].shape[1:]) == self.contract.shape
        )
        if not good:
            raise BundleError(
                "the model's input is not what its contract says", where=self.where,
                allowed=f"{self._input}: n x {_prepared(self.contract)}",
                got="; ".join(f"{i.name}: {i.shape} {i.type}" for i in inputs),
            )  # fmt: skip
        self.outputs = {o.name: int(o.shape[1]) if len(o.shape) == 2 else 1 for o in outputs}
        if "output" not in self.outputs or not set(self.outputs) <= set(OUTPUTS):
            raise BundleError(
                "the model's outputs have other names", where=self.where, allowed=", ".join(OUTPUTS),
                got=", ".join(self.outputs),
            )  # fmt: skip

    def run_whole(self, rows: np.ndarray) -> Scores:
        """Score all rows as one batch, however many: for the check of an export."""
        found = self._session.run(list(self.outputs), {self._input: np.ascontiguousarray(rows)})
        return Scores(**dict(zip(self.outputs, found, strict=True)))

    def score(self, rows: np.ndarray, *, threads: int | None = None, wanted: tuple[str, ...] = OUTPUTS) -> Scores:
        """Score rows of the contract's shape and type.

        Parameters
        ----------
        rows : pictures (n, height, width, channels), or prepared rows of a table (n, features) float32; what is not
            as the contract says raises ContractError.
        threads : batches that run side by side; None = the processors that this process may use.
        wanted : which outputs to keep.
        """
        if rows.shape[1:] != self.contract.shape or rows.dtype != self.contract.dtype:
            what, cure = "images", "Hand in the pixels as they are stored; the model does its own scaling."
            if isinstance(self.contract, TableContract):
                what, cure = "prepared rows", "Hand raw rows to Bundle.score, which prepares them."
            raise ContractError(
                f"these {what} are not what the model was fed", allowed=f"n x {_prepared(self.contract)}",
                got=describe(rows.shape, rows.dtype), cure=cure,
            )  # fmt: skip
        names = [name for name in self.outputs if name in wanted]
        size = batch_size(self.contract)
        starts = range(0, max(len(rows), 1), size)

        def run(start: int) -> list[Any]:
            batch = np.ascontiguousarray(rows[start : start + size])
            return list(self._session.run(names, {self._input: batch}))

        workers = min(threads or machine.threads(), len(starts))
        try:
            if workers == 1:
                parts = [run(start) for start in starts]
            else:
                with ThreadPoolExecutor(workers) as pool:
                    parts = list(pool.map(run, starts))
        except _runtime_errors() as error:
            raise BundleError("the model fails", where=self.where, got=str(error).splitlines()[0]) from error
        joined = {name: np.concatenate([p[i] for p in parts]) for i, name in enumerate(names)}
        output = joined.get("output", np.empty((len(rows), 0), np.float32))
        return Scores(output, joined.get("logits"), joined.get("embedding"))


def _prepared(contract: InputContract | TableContract) -> str:
    """What a row of the graph's input is, in a few words."""
    if isinstance(contract, TableContract):
        return describe(contract.shape, contract.dtype, contract.names[:8])
    return contract.words()


def _runtime_errors() -> tuple[type[Exception], ...]:
    """Every error class of ONNX Runtime: they share no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = [v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception)]
    return tuple(found)
