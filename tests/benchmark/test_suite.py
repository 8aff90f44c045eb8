from pathlib import Path

import pytest
import yaml

from auformer.benchmark.suite import Method, Source, method_words, nested, read_suite, sources

CONFIG = {
    "model": {"class_path": "auformer.training.module.AUModule", "init_args": {"lr": 0.1}},
    "trainer": {"max_epochs": 4},
}
SUITE = {
    "seeds": [3, 4],
    "data": {"a": {"manifest": "a.csv"}, "b": {"synth": {"lab": "B", "subjects": 4}}, "unused": {"manifest": "c.csv"}},
    "methods": {"auformer": {"config": "m.yaml", "set": {"trainer.max_epochs": 2}}, "probe": {"config": "m.yaml"}},
    "runs": [
        {"protocol": "within", "data": ["a", "b"], "methods": ["probe"], "seeds": 0},
        {"protocol": "cross", "train": "a", "test": "b", "set": {"model.lr": 0.5}, "select_on_test": True},
        {"protocol": "micro", "name": "mine", "data": "a", "init": ["none", "x/adapter.safetensors", "macro=demo"],
         "set": {"select": "last"}},
    ],
    "fast": {"seeds": 9, "data": {"b": {"synth": {"subjects": 2}}}},
}  # fmt: skip


def write(folder, **changes):
    (folder / "m.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    content = {name: value for name, value in {**SUITE, **changes}.items() if value is not None}
    (folder / "suite.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "suite.yaml"


def test_a_suite_becomes_runs(tmp_path):
    suite = read_suite(write(tmp_path))
    assert (suite.out, suite.seeds) == (Path("runs/suite"), (3, 4))
    data = suite.find_data()
    assert set(data) == {"a", "b"} and data["a"].path == tmp_path / "a.csv" and data["b"].rendered
    assert data["b"].path == Path("runs/suite/data/b/manifest.csv")
    lines = [run.text() for run in suite.runs(data)]
    assert lines[:2] == ["within  a  each fold  probe  seed 0", "within  b  fold ours1  probe  seed 0"]
    assert len(lines) == 4 + 4 + 12
    assert lines[4] == "cross  a -> b  auformer  seed 3  selected on the test split"
    micro = [run for run in suite.runs(data) if run.name == "mine"]
    assert [run.init for run in micro[::4]] == [None, "x", "macro"] and {run.validation for run in micro} == {"last"}
    places = [suite.checkpoint_of(run) for run in micro[::4]]
    assert places == [None, str(tmp_path / "x" / "adapter.safetensors"), "demo"]


def test_settings_go_over_the_configuration(tmp_path):
    suite = read_suite(write(tmp_path))
    assert suite.config_of("auformer", "within")["trainer"] == {"max_epochs": 2}
    assert suite.config_of("probe", "cross") == {**CONFIG, "model": {**CONFIG["model"], "init_args": {"lr": 0.5}}}


def test_weights_that_settings_name_are_relative_to_the_suite(tmp_path):
    weights = {"network.checkpoint_path": "backbones/a.safetensors"}
    method = {"config": "m.yaml", "set": {"network.checkpoint_path": "/there/b.safetensors"}}
    entries = [{"protocol": "within", "data": "a", "set": weights}, {"protocol": "cross", "train": "a", "test": "b"}]
    needs = {"backbones/a.safetensors": "python make.py"}
    suite = read_suite(write(tmp_path, runs=entries, methods={**SUITE["methods"], "own": method}, needs=needs))
    pairs = ("probe", "within"), ("own", "cross"), ("probe", "cross")
    networks = [suite.config_of(*pair)["model"]["init_args"].get("network", {"init_args": {}}) for pair in pairs]
    places = [network["init_args"].get("checkpoint_path") for network in networks]
    assert places == [str(tmp_path / "backbones/a.safetensors"), str(tmp_path / "/there/b.safetensors"), None]
    with pytest.raises(ValueError, match=r"weights of probe to be at .*a.safetensors, .* make it with: python make.py"):
        suite.check_weights("probe", places[0])
    with pytest.raises(ValueError, match=r"b.safetensors, .* check `network.checkpoint_path`"):
        suite.check_weights("own", places[1])
    (tmp_path / "backbones").mkdir()
    (tmp_path / "backbones/a.safetensors").touch()
    suite.check_weights("probe", places[0])
    suite.check_weights("probe", None)


def test_some_methods_have_more_seeds(tmp_path):
    entry = {"protocol": "cross", "train": "a", "test": ["b", "unused"], "seeds": {"probe": [5, 6, 7]}}
    suite = read_suite(write(tmp_path, runs=[entry, {**entry, "name": "other", "seeds": {"probe": 8, "default": [1]}}]))
    runs = suite.runs(suite.find_data())
    told = {
        name: [(run.method, run.seed) for run in runs if run.name == name and run.test.data == "b"]
        for name in ("cross", "other")
    }
    assert told["cross"] == [("auformer", 3), ("auformer", 4), ("probe", 5), ("probe", 6), ("probe", 7)]
    assert told["other"] == [("auformer", 1), ("probe", 8)] and len(runs) == 2 * (5 + 2)


def test_fast_is_merged_over_the_rest(tmp_path):
    suite = read_suite(write(tmp_path), fast=True)
    assert suite.seeds == (9,) and suite.out == Path("runs/suite-fast")
    assert suite.data["b"].synth == {"lab": "B", "subjects": 2} and suite.data["a"] == Source(tmp_path / "a.csv")
    assert read_suite(write(tmp_path), fast=True, out=tmp_path / "x").out == tmp_path / "x"
    with pytest.raises(ValueError, match="under `fast`"):
        read_suite(write(tmp_path, fast=None), fast=True)


def entry(**keys):
    """A suite whose second entry has other keys."""
    other = {"protocol": "efficiency", "name": "other", "data": "a"}
    return {"runs": [{"protocol": "within", "data": "a"}, {**other, **keys}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": []}, "but got none"),
        ({"runs": None}, "suite.yaml: the following arguments are required: runs"),
        ({"extra": 1}, "suite.yaml to hold data, methods, .* but got extra"),
        ({"data": ["a"]}, "`data` of .*suite.yaml to be dict"),
        ({"data": {"a": "a.csv"}}, "`data` of .*suite.yaml to be dict.* but got {'a': 'a.csv'}"),
        ({"data": {"a": {"manifest": None}}}, "data set a in .*suite.yaml to be {manifest: FILE} or"),
        ({"methods": {"auformer": {"file": "m.yaml"}}}, "method auformer in .* to hold config, set, but got file"),
        ({"methods": {"m": {"config": None}}}, "method m in .*suite.yaml to be {config: FILE"),
        ({"methods": {"m": {"config": "m.yaml", "set": ["x=1"]}}}, "`set` of the method m in .*suite.yaml to be dict"),
        ({"needs": ["x"]}, "`needs` of .*suite.yaml"),
        ({"out": ["x"]}, "`out` of .*suite.yaml to be str"),
        ({"runs": ["within"]}, "`runs` of .*suite.yaml"),
        ({"seeds": "many"}, r"`seeds` of .*suite.yaml to be int \| list\[int\], but got 'many'"),
        ({"seeds": -1}, "`seeds` to be whole numbers, at least 0"),
        ({"seeds": True}, "`seeds` of .*suite.yaml"),
        ({"seeds": [0, 0]}, "`seeds` .* each once"),
        ({"runs": [{"protocol": "between", "data": "a"}]}, "`protocol` of entry 1 .* but got 'between'"),
        ({"runs": [{"protocol": "within", "data": "z"}]}, "`data` of within to be among a, b, unused, but got z"),
        ({"runs": [{"protocol": "within"}]}, "but got none"),
        ({"runs": [{"protocol": "within", "data": "a", "sizes": [1]}]}, "entry 1 of `runs` .* but got sizes"),
        ({"runs": [{"protocol": "within", "data": "a", "methods": ["svm"]}]}, "`methods` of within"),
        ({"runs": [{"protocol": "within", "data": "a"}] * 2}, "within twice"),
        ({"runs": [{"protocol": "within", "data": "a", "seeds": {"svm": 1}}]}, "or `default`, but got svm"),
        (entry(seeds={"m": "x"}), "`seeds` of entry 2 of `runs` in .*suite.yaml to be int .* dict"),
        (entry(select_on_test="maybe"), "`select_on_test` of entry 2 of `runs` .* to be bool, but got 'maybe'"),
        (entry(folds="three"), "entry 2 .*`folds`.* `loso` in the protocol within"),
        (entry(folds=1), "entry 2 .*`folds` .* at least 2, each once, but got"),
        (entry(sizes=[1.0, 1.0]), "entry 2 .*`sizes` .* once"),
        (entry(min_steps=-3), "entry 2 .*`min_steps`"),
        (entry(data={"x": 1}), "`data` of entry 2"),
    ],
)
def test_what_is_no_suite(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_suite(write(tmp_path, **changes))


def test_values_may_be_given_in_several_ways(tmp_path):
    """One or a list; null counts as not given; 1 and 1.0 are two sizes, a frame and all of them."""
    given = entry(
        seeds={"default": [0], "probe": 1}, folds=2, sizes=[1, 1.0], min_steps=0, set=None, select_on_test=False
    )
    suite = read_suite(write(tmp_path, **given, seeds=3, out=None))
    assert {run.subset for run in suite.runs(suite.find_data()) if run.name == "other" and run.method == "probe"} == {1}
    assert {type(run.subset) for run in suite.runs(suite.find_data()) if run.name == "other"} == {int, float}


@pytest.mark.slow
def test_every_suite_of_this_tree_can_be_read():
    paths = sorted((Path(__file__).parents[2] / "experiments" / "suites").glob("*.yaml"))
    assert len(paths) >= 5
    for path in paths:
        suite = read_suite(path)
        assert suite.runs(suite.find_data())


def test_short_names_of_settings():
    given = {"model.lr": 0.1, "network": "auformer.models.baselines.LoRA", "network.rank": 8, "trainer.max_epochs": 2}
    network = {"class_path": "auformer.models.baselines.LoRA", "init_args": {"rank": 8}}
    assert nested(given) == {"model": {"init_args": {"lr": 0.1, "network": network}}, "trainer": {"max_epochs": 2}}
    long = {"model.init_args.network.init_args.rank": 8, "model.class_path": "x", "network.init_args.width": 2}
    assert nested(long) == {
        "model": {"class_path": "x", "init_args": {"network": {"init_args": {"rank": 8, "width": 2}}}}
    }


def test_methods_and_manifests_by_name(tmp_path):
    write(tmp_path)
    config = str(tmp_path / "m.yaml")
    assert method_words([config, f"other={config}"]) == dict.fromkeys(("auformer", "other"), Method(Path(config)))
    (default,) = method_words([]).values()
    assert default.plain({"trainer.max_epochs": 3})["trainer"] == {"max_epochs": 3}
    assert default.plain()["data"] == {"image_size": 224}
    with pytest.raises(ValueError, match="auformer again: write NAME="):
        method_words([config, config])
    assert list(sources([Path("x/bp4d.csv"), Path("lab/manifest.csv")])) == ["bp4d", "lab"]
    with pytest.raises(ValueError, match="different names"):
        sources([Path("x/bp4d.csv"), Path("y/bp4d.csv")])
