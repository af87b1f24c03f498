"""Plug-ins as users meet them; packages are made up in a folder on the path, but for the example of docs/."""

import importlib.metadata

import numpy as np
import pytest

import serbench
from serbench.classifiers import CLASSIFIERS, find_classifier, known_classifiers
from serbench.classifiers.spaces import read_spaces
from serbench.errors import ConfigError, FeatureError, PluginError, UnknownNameError
from serbench.features import FEATURE_SETS, find_feature_set, has_feature_set, known_feature_sets
from serbench.features.own import read_own_features
from serbench.grid.fit import check_predictions
from serbench.plugins import Package, forget_plugins

MODELS = "serbench.classifiers"

QUIET = """
import numpy as np
from serbench.features import FeatureSet

class Mean:
    columns = ("mean", "peak")
    def __call__(self, mono):
        return np.array([mono.mean(), abs(mono).max()], dtype=np.float32)

SET = FeatureSet(name="quiet", title="Mean and peak", citation="none", n_features=2, sampling_rate=16000,
                 shortest_s=0.0, packages=("numpy",), open=Mean, options={"a": 1}, revision=1)
"""
PRIOR = """
from serbench.classifiers import Classifier

def make(setting, *, n_features, seed):
    from sklearn.dummy import DummyClassifier
    return DummyClassifier(strategy="prior", random_state=seed)

MODEL = Classifier(name="prior", title="Most frequent", space=({"a": 1}, {"a": 2}), default={"a": 1},
                   parameters=("a",), estimator=make, seconds=lambda n, d, s: 0.01, takes_weights=False, revision=1)
"""


def test_plugins_are_found_by_name_imported_once_and_listed_after_serbenchs_own(site, capsys):
    site.install("quiet-sets", "print('imported')" + QUIET)
    site.install("prior-models", PRIOR, group=MODELS)
    assert find_feature_set("quiet").package == Package("quiet-sets", "1.0")
    assert find_classifier("prior").package == Package("prior-models", "1.0")
    for known, own in ((known_feature_sets()[0], FEATURE_SETS), (known_classifiers()[0], CLASSIFIERS)):
        assert list(known)[: len(own)] == list(own)
        assert all(one.package is None for one in own.values())
    assert known_feature_sets()[0]["quiet"] is find_feature_set("quiet")
    assert known_classifiers()[0]["prior"] is find_classifier("prior")
    assert capsys.readouterr().out == "imported\n"


def test_serbenchs_own_names_are_answered_without_looking_for_packages(monkeypatch):
    forget_plugins()
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **given: pytest.fail("looked for packages"))
    assert find_classifier("svc") is CLASSIFIERS["svc"]
    assert find_feature_set("IS09") is FEATURE_SETS["IS09"]
    assert has_feature_set("mfcc")


def test_unknown_name_suggests_plugins_without_importing_them(site):
    site.install("quiet-sets", "raise RuntimeError('imported')")
    with pytest.raises(UnknownNameError, match=r"Unknown feature set 'quite'\. Did you mean 'quiet'\? Known: .*quiet"):
        find_feature_set("quite")


BROKEN = {
    "import": ("import no_such_module", r"quiet_sets:SET cannot be loaded \(ModuleNotFoundError: No module named 'no"),
    "syntax": ("def (", r"cannot be loaded \(SyntaxError: invalid syntax"),
    "exit": ("raise SystemExit('needs a licence')", r"cannot be loaded \(SystemExit: needs a licence\)"),
    "panic": ("class Panic(BaseException): pass\nraise Panic('no GPU')", r"cannot be loaded \(Panic: no GPU\)"),
    "absent": ("", r"cannot be loaded \(AttributeError: .*no attribute 'SET'"),
    "type": ("SET = {'name': 'quiet'}", r"an object of type dict\. Expected a FeatureSet"),
    "name": (QUIET.replace('name="quiet"', 'name="loud"'), r"'quiet' of a record named 'loud'\. Expected one name"),
    "path": (QUIET.replace('name="quiet"', 'name="../quiet"'), r"the name '\.\./quiet'\. Expected letters, digits"),
    "revision": (QUIET.replace("revision=1", "revision=True"), r"the revision True\. Expected a whole number"),
    "package": (QUIET.replace('("numpy",)', '("numpy", "no-such")'), r"no-such not installed\. Expected every package"),
    "packages": (QUIET.replace('("numpy",)', '"numpy"'), r"packages 'numpy'\. Expected a tuple"),
    "options": (QUIET.replace('{"a": 1}', '{"a": float("nan")}'), r"options that cannot be part of a key"),
    "size": (QUIET.replace("n_features=2", "n_features=2.0"), r"n_features 2\.0\. Expected a whole number"),
    "duration": (QUIET.replace("shortest_s=0.0", "shortest_s=None"), r"shortest_s None\. Expected seconds"),
    "open": (QUIET.replace("open=Mean", "open=None"), r"open None\. Expected a function"),
    "all": (QUIET.replace("revision=1", "revision=0").replace("open=Mean", "open=3"), r"the revision 0.*open 3"),
}
WRONG = {
    "empty": (PRIOR.replace('({"a": 1}, {"a": 2})', "()"), r"a space of 0 settings"),
    "default": (PRIOR.replace('default={"a": 1}', 'default={"a": 3}'), r"the default {'a': 3}\. Expected one of"),
    "parameter": (PRIOR.replace('("a",)', '("b",)'), r"settings of a\. Expected its parameters: b"),
    "value": (PRIOR.replace('{"a": 2}', '{"a": float("inf")}'), r"the value inf in its space\. Expected text or a fin"),
    "seconds": (PRIOR.replace("0.01", "0"), r"seconds 0 for 100 training rows\. Expected more than 0"),
    "odd": (PRIOR.replace("0.01", "1 / 0"), r"fields that cannot be checked \(ZeroDivisionError"),
    "estimator": (PRIOR.replace("estimator=make", "estimator='svc'"), r"estimator 'svc'\. Expected a function"),
    "input": (PRIOR.replace("revision=1", 'input="columns"'), r"input 'columns'\. Expected rows or frames"),
    "text": (PRIOR.replace("revision=1", 'auxiliary="gender"'), r"auxiliary 'gender'\. Expected a tuple of names"),
    "sweep": (PRIOR.replace("revision=1", 'auxiliary=("gender",)'), r"the default sweep, which passes none on\. Expec"),
}


@pytest.mark.parametrize("why", [*BROKEN, *WRONG])
def test_broken_plugin_names_itself_and_takes_nothing_else_down(site, why):
    text, words = {**BROKEN, **WRONG}[why]
    if why in BROKEN:
        site.install("quiet-sets", text)
        site.install("other-sets", QUIET.replace('name="quiet"', 'name="other"'), points={"other": "SET"})
        find, known_ones, own, name = find_feature_set, known_feature_sets, {"other", *FEATURE_SETS}, "quiet"
    else:
        site.install("prior-models", text, group=MODELS)
        find, known_ones, own, name = find_classifier, known_classifiers, set(CLASSIFIERS), "prior"
    for _ in range(2):  # what is wrong is said again, not imported again
        with pytest.raises(PluginError, match=rf"(?s)of (quiet-sets|prior-models) 1\.0: .*{words}") as caught:
            find(name)
    assert "Upgrade or uninstall" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError) or why != "import"
    known, faults = known_ones()
    assert str(caught.value) in map(str, faults)
    assert name not in known
    assert own <= set(known)


def test_interruption_is_no_fault_of_the_plugin(site):
    site.install("quiet-sets", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        find_feature_set("quiet")


def test_name_of_serbenchs_own_stays_its_own(site):
    text = QUIET.replace('name="quiet"', 'name="mfcc"')
    site.install("quiet-sets", text, points={"mfcc": "SET"})
    assert find_feature_set("mfcc") is FEATURE_SETS["mfcc"]
    known, faults = known_feature_sets()
    assert known["mfcc"] is FEATURE_SETS["mfcc"]
    told = "feature set 'mfcc' of quiet-sets 1.0: serbench has a feature set of this name. Expected another name."
    assert any(str(fault).startswith(told) for fault in faults)


def test_one_name_of_two_packages_is_refused_and_names_both(site):
    site.install("quiet-sets", QUIET)
    site.install("silent-sets", QUIET, version="2.1")
    words = r"(quiet-sets 1\.0, silent-sets 2\.1|silent-sets 2\.1, quiet-sets 1\.0): 2 plug-ins of one name"
    with pytest.raises(PluginError, match=rf"feature set 'quiet' of {words}.*Uninstall all but one"):
        find_feature_set("quiet")


def test_key_of_features_covers_version_and_revision_of_their_plugin(site):
    keys = []
    for version, revision in (("1.0", 1), ("1.0.1", 1), ("1.0.1", 2), ("1.0.1+local", 2)):
        site.install("quiet-sets", QUIET.replace("revision=1", f"revision={revision}"), version=version)
        feature_set = find_feature_set("quiet")
        assert feature_set.versions["quiet-sets"] == version
        keys.append(feature_set.key)
    assert len(set(keys)) == 4
    site.install("quiet-sets", QUIET)
    assert find_feature_set("quiet").key == keys[0]


GRID = ["grid", "toy", "--emotions", "anger,happiness,neutral", "--inner", "none"]


@pytest.fixture
def options(make_corpus, tmp_path):
    """Options of a grid of the toy corpus without worker processes."""
    return ["--corpora", make_corpus(), "--results", tmp_path / "results", "--jobs", "1"]


@pytest.mark.slow
def test_jobs_of_a_plugin_run_in_workers_and_are_done_again_for_another_version(site, options, cli):
    site.install("quiet-sets", QUIET)
    site.install("prior-models", PRIOR, group=MODELS)
    grid = [*GRID, "-f", "quiet", "-c", "prior", *options[:-1], "2"]
    code, out, err = cli(*grid)
    assert code == 0, err
    assert "1 cells, 4 jobs, 0 already there, 4 to do" in out
    site.install("prior-models", PRIOR, version="1.0.1", group=MODELS)
    code, out, err = cli(*grid, "--dry-run")
    assert code == 0, err
    assert "1 cells would run 4 of their 4 jobs" in out


FIT = "class Leaving(DummyClassifier):\n        def fit(self, *a):\n            raise SystemExit('a licence')\n    "
LEAVES = {
    "a fit": (
        ("return Dummy", f"{FIT}return Leaving(strategy='prior') or Dummy"),
        ["SystemExit: a licence", "1 of 2 cells have no result; 1 are stored"],
    ),
    "an estimate of time": (
        ("seconds=lambda n, d, s: 0.01", "seconds=lambda n, d, s: 0.01 if n == 100 else exit(0)"),
        ["serbench: classifier 'prior': seconds(", "fails (SystemExit: 0). Expected a number."],
    ),
}


@pytest.mark.parametrize(("change", "words"), LEAVES.values(), ids=LEAVES)
def test_classifier_that_ends_the_program_fails_its_own_cell_or_is_named(site, options, cli, change, words):
    site.install("prior-models", PRIOR.replace(*change), group=MODELS)
    code, _, err = cli(*GRID, "-f", "mfcc", "-c", "prior", "-c", "knn", *options)
    assert code == 1, err
    assert [word for word in words if word not in err] == []


def test_results_of_a_plugin_are_reported_when_it_is_no_longer_there(site, options, cli):
    site.install("quiet-sets", QUIET)
    code, out, err = cli(*GRID, "-f", "quiet", "-c", "knn", *options)
    assert code == 0, err
    site.remove("quiet-sets")
    code, out, err = cli("report", *options[2:4])
    assert code == 0, err
    assert "quiet" in out
    code, out, err = cli(*GRID, "-f", "quiet", "-c", "knn", *options)
    assert code == 1
    assert "serbench: Unknown feature set 'quiet'." in err


def test_commands_that_need_no_plugin_import_none(site, options, cli):
    site.install("quiet-sets", "raise SystemExit('imported')")
    site.install("prior-models", "raise SystemExit('imported')", group=MODELS)
    for code, command in ((0, [*GRID, "-f", "mfcc", "-c", "knn", "--dry-run", *options]), (1, ["grid", "-c", "svm"])):
        found, out, err = cli(*command)
        assert (found, "imported" in out + err) == (code, False), err


def test_commands_list_plugins_on_stdout_and_faults_on_stderr_without_failing(site, cli):
    site.install("quiet-sets", QUIET)
    site.install("prior-models", PRIOR, group=MODELS)
    site.install("bad-sets", "raise SystemExit", points={"bad": "SET"})
    site.install("bad-models", "import no_such_module", group=MODELS, points={"worse": "MODEL"})
    code, out, err = cli("features", "list")
    assert code == 0, err
    assert "2  Mean and peak (none) [quiet-sets 1.0]" in out
    assert "serbench: feature set 'bad' of bad-sets 1.0: bad_sets:SET cannot be loaded (SystemExit)" in err
    code, out, err = cli("classifiers", "list")
    assert code == 0, err
    assert "2  Most frequent [prior-models 1.0]" in out
    assert "serbench: classifier 'worse' of bad-models 1.0: bad_models:MODEL cannot be loaded (ModuleN" in err


def test_space_of_a_users_own_may_name_a_plugin(site, tmp_path):
    site.install("prior-models", PRIOR, group=MODELS)
    file = tmp_path / "spaces.yaml"
    file.write_text("prior: {settings: [{a: [3, 4]}]}")
    assert read_spaces(file)["prior"].settings == ({"a": 3}, {"a": 4})
    site.install("prior-models", "raise SystemExit", group=MODELS)
    with pytest.raises(ConfigError, match=r"spaces\.yaml: prior: classifier 'prior' of prior-models 1\.0: .*Exit"):
        read_spaces(file)
    for raised in ("SystemExit(0)", "RuntimeError('no licence')"):
        text = PRIOR.replace("    return Dummy", f"    raise {raised}\n    return Dummy")
        site.install("prior-models", text, group=MODELS)
        with pytest.raises(ConfigError, match=rf"spaces\.yaml: prior: {{'a': 3}} \({raised[:10]}.*a complete setting"):
            read_spaces(file)


def test_file_of_features_may_not_have_the_name_of_a_plugin(site, tmp_path):
    site.install("quiet-sets", "raise RuntimeError('imported')")
    with pytest.raises(FeatureError, match=r"'quiet' is the name of a feature set of serbench or a plug-in\. Expected"):
        read_own_features(tmp_path / "quiet.csv")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("return np.array([mono.mean(), abs(mono).max()]", "return np.array([mono.mean()]"), r"a row of shape (1,)"),
        (('columns = ("mean", "peak")', 'columns = ("mean",)'), r"1 names for 2 features"),
        (('columns = ("mean", "peak")', ""), r"no attribute 'columns'"),
    ],
    ids=["row", "names", "no names"],
)
def test_rows_of_the_wrong_size_are_failures_and_stop_no_other_set(site, make_corpus, workspace, change, words):
    site.install("quiet-sets", QUIET.replace(*change))
    place = workspace(make_corpus(speakers=("f1",), emotions=("anger",)))
    extracted = serbench.extract_features(["toy"], ["quiet", "mfcc"], place)
    assert extracted.done[0].computed == {"quiet": 0, "mfcc": 2}
    assert len(extracted.failed) == 2
    assert all(words in failure.reason for failure in extracted.failed)


def test_predictions_that_are_no_emotions_of_the_settings_fail_their_job():
    job = {"classifier": "prior", "settings": [{}, {}], "evaluated": ["a", "b", "c"], "emotions": ["anger", "fear"]}
    check_predictions(np.ones((2, 3), dtype=np.int64), job)
    for wrong, words in (
        (np.ones(3, dtype=np.int64), r"prior: predictions of shape \(3,\) .*Expected integers of shape \(2, 3\)"),
        (np.ones((2, 3)), r"type float64\. Expected integers"),
        (np.array([[0, 1, -1], [0, 0, 0]]), r"predictions from -1 to 1\. Expected codes of 2 emotions"),
    ):
        with pytest.raises(PluginError, match=words):
            check_predictions(wrong, job)


@pytest.mark.skipif(
    not any(importlib.metadata.distributions(name="serbench-example")),
    reason="needs the example: pip install docs/example-plugin (`nox -s tests` does it)",
)
def test_example_is_listed_and_goes_from_recordings_to_the_report(options, cli, tmp_path):
    assert "functionals (an example, not published) [serbench-example 0.1.0]" in cli("features", "list")[1]
    assert "nearest mean of an emotion, shrunken or not [serbench-example 0.1.0]" in cli("classifiers", "list")[1]
    code, out, err = cli(*GRID, "-f", "loudness", "-c", "nearest-centroid", *options)
    assert code == 0, err
    code, out, err = cli("report", *options[2:4])
    assert code == 0, err
    assert {"loudness", "nearest-centroid"} <= set(out.split())
