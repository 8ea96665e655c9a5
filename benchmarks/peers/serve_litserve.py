"""LitServe with eager PyTorch, one worker, one stamp a request.

    python serve_litserve.py BUNDLE PORT json|npy

POST /json takes {"image": nested list}, POST /npy a raw .npy body (LitServe passes on what FastAPI reads of a type).
"""

import io
import sys
from typing import Annotated

import litserve
import numpy as np
from fastapi import Body
from pydantic import BaseModel

Raw = Annotated[bytes, Body(media_type="application/x-npy")]


class Stamp(BaseModel):
    image: list[list[list[float]]]


class Api(litserve.LitAPI):
    def __init__(self, folder: str, path: str) -> None:
        super().__init__(api_path=path)
        self.folder = folder

    def setup(self, device: str) -> None:
        from eager import Model

        self.model = Model(self.folder)

    def predict(self, images: np.ndarray):
        return self.model.answer(images)

    def encode_response(self, output):
        return output


class OfJson(Api):
    def decode_request(self, request: Stamp):
        return np.asarray([request.image], np.float32)


class OfNpy(Api):
    def decode_request(self, request: Raw):
        return np.load(io.BytesIO(request))


def main() -> None:
    folder, port, kind = sys.argv[1:]
    api = (OfJson if kind == "json" else OfNpy)(folder, f"/{kind}")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=30, fast_queue=True)
    server.run(host="127.0.0.1", port=int(port), num_api_servers=1, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
