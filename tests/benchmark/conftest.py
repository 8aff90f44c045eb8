import pytest

from tests.helpers.benchmarks import two_labs


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    return two_labs(tmp_path_factory.mktemp("labs"))
