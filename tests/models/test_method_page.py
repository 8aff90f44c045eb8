"""The numbers that the packaged page of the method states are those of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import auformer
from auformer.losses import MARGIN, mdwa_loss
from auformer.models import AUFormer
from auformer.training.config import NETWORK
from auformer.training.module import AUModule

PAGE = " ".join((Path(auformer.__file__).parent / "assets" / "method.md").read_text(encoding="utf-8").split())


def _stated(pattern: str) -> tuple[str, ...]:
    found = re.search(pattern, PAGE)
    assert found is not None, pattern
    return found.groups()


def test_stated_defaults_are_those_of_the_signatures() -> None:
    network = {name: one.default for name, one in inspect.signature(AUFormer).parameters.items()}
    module = {name: one.default for name, one in inspect.signature(AUModule).parameters.items()}
    loss = {name: one.default for name, one in inspect.signature(mdwa_loss).parameters.items()}
    assert int(*_stated(r"expert width \(bottleneck channels\), default (\d+)")) == network["expert_width"]
    assert int(*_stated(r"window of the context operator, default (\d+)")) == network["window"]
    assert [int(one) for one in _stated(r"r in \{(\d+), (\d+), (\d+)\}")] == list(network["dilations"])
    assert (_stated(r"is the default \(`average_heads: (true|false)`\)") == ("true",)) == network["average_heads"]
    assert _stated(r"Default for real data: `([\w.]+)`") == (NETWORK["init_args"]["backbone"],)
    assert float(*_stated(r"margin m = ([\d.]+) \[F\]")) == module["margin"] == loss["margin"] == MARGIN
    stated = [float(one) for one in _stated(r"defaults (\d) and (\d) \(rarer AU")]
    assert stated == [loss["gamma_low"], loss["gamma_high"]] == [module["gamma_low"], module["gamma_high"]]
    assert float(*_stated(r"`lambda = (\d)`")) == module["expert_loss_weight"]
    assert _stated(r"`Eva` with `EvaBlock` \((EVA-02, DINOv3)\)")  # it is accepted
