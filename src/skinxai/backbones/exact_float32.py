"""Float32 arithmetic without faster formats of fewer bits, whatever torch is allowed to use."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

EXACT = "ieee"
_changing = threading.Lock()
_inside = 0
_put_back: Callable[[], None] | None = None


@contextmanager
def exact_float32() -> Iterator[None]:
    """Within it, convolutions and matrix products of float32 compute in float32.

    By default torch lets cuDNN compute float32 convolutions in TF32, with 10 bits of mantissa
    instead of 23, which moves probabilities by up to some thousandths; programs may also allow TF32
    or bfloat16 for matrix products, on a GPU and on a processor. These settings belong to the whole
    process. They are changed when the first thread enters and put back when the last one leaves.
    """
    global _inside, _put_back
    with _changing:
        if not _inside:
            _put_back = _set_exact()
        _inside += 1
    try:
        yield
    finally:
        with _changing:
            _inside -= 1
            if not _inside and _put_back is not None:
                _put_back()


def _set_exact() -> Callable[[], None]:
    """Set all to exact float32, and return what puts the settings back.

    torch has older settings and newer ones for the same thing, and raises where some of its parts
    read an older one that disagrees with the newer, as each matrix product on a GPU does. So both
    are set, the older first, since they overwrite the newer. An older one that already disagrees
    cannot be read: that of matrix products can as soon as the newer are exact, that of cuDNN is
    left alone.
    """
    backends: Any = torch.backends
    products = [backends.mkldnn.matmul, backends.cuda.matmul]
    newer = [backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.conv, *products]
    before = [each.fp32_precision for each in newer]
    tf32 = _read(lambda: torch.backends.cudnn.allow_tf32)
    matmul = _read(torch.get_float32_matmul_precision)
    for each in products if matmul is None else ():
        each.fp32_precision = EXACT
        matmul = matmul or _read(torch.get_float32_matmul_precision)
    torch.set_float32_matmul_precision("highest")
    if tf32 is not None:
        torch.backends.cudnn.allow_tf32 = False
    for each in newer:
        each.fp32_precision = EXACT

    def put_back() -> None:
        torch.set_float32_matmul_precision(matmul)
        if tf32 is not None:
            torch.backends.cudnn.allow_tf32 = tf32
        for each, value in zip(newer, before, strict=True):
            each.fp32_precision = value

    return put_back


def _read(setting: Callable[[], Any]) -> Any:
    try:
        return setting()
    except RuntimeError:  # it disagrees with a newer one
        return None
