"""A batch that does not fit is halved: the same rows in the same order, the size remembered, other errors untouched."""

from __future__ import annotations

import logging
import re
import weakref

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

from auformer.models.batches import FittingBatches, is_out_of_memory

IMAGES = torch.arange(13 * 12, dtype=torch.float32).reshape(13, 3, 2, 2)
CPU = "[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator:"
ERRORS = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError(f"{CPU} can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError(f"{CPU} not enough memory: you tried to allocate 9 bytes."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.8 GB)"),
    RuntimeError("std::bad_alloc"),
    MemoryError("Unable to allocate 3.6 GiB for an array"),
    MemoryError(),
]


class Limited:
    """Sums rows; raises where there are more than it has room for, and notes how many rows it was given."""

    def __init__(self, room: int, error: BaseException) -> None:
        self.room, self.error, self.given = room, error, []

    def __call__(self, images: Tensor) -> Tensor:
        self.given.append(len(images))
        if len(images) > self.room:
            raise self.error
        return images.flatten(1).sum(1, keepdim=True)


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a package that configures logging did in this process before."""
    monkeypatch.setattr(logging.getLogger("auformer.models.batches"), "disabled", False)
    monkeypatch.setattr(logging.getLogger("auformer"), "propagate", True)
    caplog.set_level(logging.WARNING, logger="auformer.models.batches")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error)[:24])
def test_halved_until_it_fits_and_remembered(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    function, batches = Limited(3, error), FittingBatches(8)
    result = batches.run(function, IMAGES)
    assert torch.equal(result, IMAGES.flatten(1).sum(1, keepdim=True))
    assert function.given == [8, 4, 2, 2, 2, 2, 2, 2, 1] and batches.size == 2
    said = [re.findall(r"\d+", record.getMessage()) for record in caplog.records]
    assert said == [["8", "4"], ["4", "2"]]  # from, to
    function.given.clear()
    batches.run(function, IMAGES[:5])
    assert function.given == [2, 2, 1] and len(caplog.records) == 2


@pytest.mark.parametrize(
    ("room", "size", "rows", "given", "left"), [(13, 20, 13, [13], 20), (2, 64, 5, [5, 2, 2, 1], 2)]
)
def test_a_batch_that_fits_is_passed_whole_and_a_smaller_last_one_halves_itself(
    room: int, size: int, rows: int, given: list[int], left: int, caplog: pytest.LogCaptureFixture
) -> None:
    function, batches = Limited(room, MemoryError()), FittingBatches(size)
    batches.run(function, IMAGES[:rows])
    assert function.given == given and batches.size == left and bool(caplog.records) == (left < size)


def test_one_image_that_does_not_fit_says_what_to_do() -> None:
    for error, cause in ((ERRORS[6], "Unable to allocate"), (MemoryError(), "MemoryError")):
        with pytest.raises(ValueError, match=f"one image of 2 x 2 pixels .* got: {cause}.*--device cpu"):
            FittingBatches(4).run(Limited(0, error), IMAGES)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes differ"), ValueError("out of memory"), KeyboardInterrupt()]
)
def test_other_errors_pass_through_at_once(error: BaseException) -> None:
    function, batches = Limited(3, error), FittingBatches(8)
    with pytest.raises(type(error)) as caught:
        batches.run(function, IMAGES)
    assert caught.value is error and function.given == [8] and batches.size == 8


def test_what_the_failed_attempt_held_is_free_before_the_next() -> None:
    """A traceback that is still alive would keep the large tensors of the attempt, and the smaller batch would fail
    for it."""
    held: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def function(images: Tensor) -> Tensor:
        alive.append(sum(reference() is not None for reference in held))
        large = images * 2
        held.append(weakref.ref(large))
        if len(images) > 3:
            raise MemoryError
        return large.sum((1, 2, 3))

    FittingBatches(8).run(function, IMAGES[:8])
    assert len(alive) == 6 and not any(alive)


def test_the_allocators_own_words() -> None:
    """The text is what torch says here, not what was once written down."""
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**58, dtype=torch.uint8)
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(2**58, dtype=np.uint8)
    n, y = helper.make_tensor_value_info("n", TensorProto.INT64, [1]), helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([helper.make_node("ConstantOfShape", ["n"], ["y"])], "g", [n], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="(?i)allocat") as of_onnxruntime:
        session.run(None, {"n": np.array([2**52])})
    assert all(is_out_of_memory(caught.value) for caught in (of_torch, of_numpy, of_onnxruntime))
