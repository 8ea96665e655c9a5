"""The plain way to serve a net: FastAPI and eager PyTorch, one stamp a request, as people write it.

    python serve_fastapi.py BUNDLE PORT [--pool]

POST /json takes {"image": nested list}, checked by pydantic; POST /npy a raw .npy body. With --pool the net runs in
FastAPI's pool of threads in place of the event loop. uvicorn with uvloop and httptools, without its log of requests.
"""

import argparse
import io

import numpy as np
import uvicorn
from eager import Model
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel


class Stamp(BaseModel):
    image: list[list[list[float]]]


def in_loop(app: FastAPI, model: Model) -> None:
    @app.post("/json")
    async def of_json(stamp: Stamp):
        return model.answer(np.asarray([stamp.image], np.float32))

    @app.post("/npy")
    async def of_npy(request: Request):
        return model.answer(np.load(io.BytesIO(await request.body())))


def in_pool(app: FastAPI, model: Model) -> None:
    @app.post("/json")
    def of_json(stamp: Stamp):
        return model.answer(np.asarray([stamp.image], np.float32))

    @app.post("/npy")
    async def of_npy(request: Request):
        return await run_in_threadpool(model.answer, np.load(io.BytesIO(await request.body())))


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("bundle")
    words.add_argument("port", type=int)
    words.add_argument("--pool", action="store_true")
    asked = words.parse_args()
    app = FastAPI()
    (in_pool if asked.pool else in_loop)(app, Model(asked.bundle))
    uvicorn.run(app, host="127.0.0.1", port=asked.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
