"""Operators and waits are counted as a GPU would see them."""

import torch
from torch import nn

from icpc_d2.analysis.operators import OperatorCounter


def test_counts_operators_but_neither_views_nor_allocations() -> None:
    layer, x = nn.Linear(4, 6), torch.randn(3, 4)
    with OperatorCounter() as counter:
        y = layer(x).view(3, 2, 3).transpose(1, 2)[:, 0].unsqueeze(1)
        torch.empty(5)
        y.relu()
    assert counter.operators == {"addmm": 1, "relu": 1}
    assert not counter.read_backs


def test_counts_backward_passes() -> None:
    x, ones = torch.randn(3, requires_grad=True), torch.ones(3)
    with OperatorCounter() as forward:
        y = (x * 2).exp()
    with OperatorCounter() as backward:
        torch.autograd.grad(y, x, ones)
    assert forward.operators.total() == 2
    assert backward.operators == {"mul": 2}


def test_counts_each_wait_for_a_value() -> None:
    x = torch.tensor([1.0, 2.0, 0.0])
    with OperatorCounter() as counter:
        float(x[0])
        bool((x > 5).any())
        x.nonzero()
        x[x > 0]
        x[torch.tensor([0, 1])]
        x.tolist()
    assert counter.read_backs == {"_local_scalar_dense": 2, "nonzero": 1, "index": 1, "tolist": 1}


def test_what_was_copied_to_the_host_is_read_for_free() -> None:
    x, step = torch.arange(3.0), torch.tensor(4.0)
    with OperatorCounter(on_host=[step]) as counter:
        values = [float(value.cpu()) for value in x.cpu()]
        assert step.item() == 4
    assert values == [0, 1, 2]
    assert counter.read_backs == {"cpu": 1}


def test_what_is_made_of_numbers_lies_on_the_host_with_all_that_comes_of_it() -> None:
    with OperatorCounter() as counter:
        sizes = torch.stack([torch.as_tensor([480, 640]), torch.as_tensor([512, 512])])
        assert int((sizes.max(dim=0).values + 31)[1]) == 671
        float(torch.tensor(2.0, device="cpu") * 3)
    assert counter.read_backs == {"_local_scalar_dense": 1}
    assert counter.operators == {"mul": 1}
