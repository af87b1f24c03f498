import json
import re
import shlex
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import serbench
from serbench.classifiers import find_classifier
from serbench.classifiers.spaces import read_spaces
from serbench.cli import app
from serbench.cli.show import ProgressLine, print_plain, print_table
from serbench.features import FEATURE_SETS
from serbench.grid.request import GridRequest
from serbench.protocols import PROTOCOLS
from serbench.report.table import Entry, make_table
from serbench.scores.metrics import METRICS
from serbench.store.results import Store

HEAVY = ["numpy", "pandas", "sklearn", "opensmile", "librosa", "pyarrow", "scipy", "soundfile", "jinja2", "matplotlib"]
HEAVY += ["yaml"]

PROBE = """
import sys
from serbench.cli import main
sys.argv = ["serbench", *sys.argv[1:]]
try:
    main()
except SystemExit as stop:
    print(stop.code or 0, sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("line", "told", "code", "heavy"),
    [
        ("--help", "0 [", 0, HEAVY),
        ("grid --help", "0 [", 0, HEAVY),
        ("corpora --help", "0 [", 0, HEAVY),
        ("grid emodb -c svm", "serbench: Unknown classifier 'svm'. Did you mean 'svc'", 1, HEAVY[1:7]),
    ],
)
def test_help_and_wrong_names_are_answered_without_heavy_imports(line, told, code, heavy):
    command = [sys.executable, "-c", PROBE, *line.split()]
    err = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert err.startswith(told)
    assert err.splitlines()[-1].startswith(f"{code} [")
    assert "'sys'" in err.splitlines()[-1]
    assert not [name for name in heavy if f"'{name}'" in err.splitlines()[-1]]


def test_extract_does_without_opensmile_and_a_second_one_without_pandas(make_corpus, tmp_path):
    at_once = PROBE.replace("import sys", "import sys, serbench.corpora.index as index; index.SETTLED_NS = 0", 1)
    options = ["toy", "-f", "IS09", "--corpora", str(make_corpus()), "--results", str(tmp_path / "results")]
    command = [sys.executable, "-c", at_once, "extract", *options]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stdout.startswith("toy IS09: 24 extracted, 0 already there")
    assert "'opensmile'" not in first.stderr
    assert second.stdout.startswith("toy IS09: 0 extracted, 24 already there")
    assert second.stderr.startswith("0 [")
    assert "'pandas'" not in second.stderr


@pytest.mark.parametrize(("command", "names"), [("compare", METRICS), ("grid", PROTOCOLS)])
def test_help_names_every_metric_and_protocol(cli, monkeypatch, command, names):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = cli(command, "--help")
    assert code == 0, err
    assert all(name in out for name in names)


def test_every_command_has_examples_that_parse_and_its_options_in_groups(cli, monkeypatch):
    group = get_command(app)
    ours = {name: command for name, command in group.commands.items() if command.epilog}
    assert set(ours) == {"extract", "grid", "report", "run", "demo", "audit", "compare", "folds", "score"}
    for command in ours.values():
        for line in re.findall("serbench (.+)", command.epilog):
            name, *words = shlex.split(line)
            ours[name].make_context(name, words)
    out = cli("grid", "--help")[1]
    assert [re.search(f"─ {panel} ─", out).start() for panel in ("Arguments", "Options", "What", "How", "Run")]
    assert all(len(line) <= 80 for line in out.splitlines())


def test_three_commands_lead_from_recordings_to_the_table(cli, make_corpus, tmp_path, monkeypatch):
    path = make_corpus(emotions=("anger", "fear", "happiness", "neutral", "sadness"))
    common = ["--results", tmp_path / "results", "--corpora", path]
    code, out, err = cli("extract", "toy", "--features", "mfcc", *common)
    assert code == 0, err
    assert "toy mfcc: 40 extracted, 0 already there, 0 failed" in out
    code, out, err = cli("grid", "toy", "--features", "mfcc", "--classifier", "knn", "--jobs", "1", *common)
    assert code == 0, err
    assert "1 cells, 10 jobs, 0 already there, 10 to do" in out
    assert "grid: 10/10" in err
    code, out, err = cli("report", "--results", tmp_path / "results")
    assert code == 0, err
    assert "Table 2. Unweighted average recall (UAR)" in out
    assert (tmp_path / "results" / "report" / "scores.csv").is_file()
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setenv("HOME", str(tmp_path))
    code, out, err = cli("report", "--plain", "--open", "--results=~/results")
    assert opened == [(tmp_path / "results" / "report" / "index.html").as_uri()]
    assert "No browser can be started here; open " in err
    assert (code, len(out.splitlines())) == (0, 4)
    assert out.splitlines()[3].startswith("mfcc\tknn\t")


def test_dry_run_prints_cells_jobs_and_time_and_never_that_something_is_stored(cli, make_corpus, tmp_path):
    options = ["-f", "mfcc", "-c", "knn", "-c", "svc", "--dry-run", "--results", tmp_path / "results"]
    options += ["--corpora", make_corpus()]
    code, out, err = cli("grid", "toy", "--emotions", "anger,happiness,neutral", *options)
    assert code == 0, err
    assert "toy mfcc knn (anger,happiness,neutral, inner all): would run 10 of its 10 jobs" in out
    assert "A dry run: 2 cells would run 20 of their 20 jobs" in out
    assert "24 rows of features would be extracted first" in out
    assert "Expected: about" in out
    code, out, err = cli("grid", "toy", *options)
    assert (code, out) == (1, "")
    assert err.count("serbench: toy: no utterances of fear, sadness") == 1
    code, out, err = cli("grid", "toy", "--task", "available", "--text-independent", *options)
    assert code == 1
    assert re.search(r"toy mfcc knn \(.*\) and 1 more: would be refused. toy, --text-independent: its entry gives", out)
    assert "2 of 2 cells would be refused" in err
    assert "stored" not in out + err


def test_failures_are_listed_turn_the_exit_status_and_do_not_stop_other_corpora(cli, make_corpus, tmp_path):
    make_corpus(name="good")
    path = make_corpus(name="bad", extra="  expect: {utterances: 99}\n")
    (path.parent / "good" / "f1_anger_0.wav").write_bytes(b"")
    code, out, err = cli("extract", "good", "bad", "-f", "mfcc", "--results", tmp_path / "results", "--corpora", path)
    assert code == 1
    assert "good mfcc: 23 extracted, 0 already there, 1 failed" in out
    assert "failed: good/f1_anger_0.wav (mfcc): f1_anger_0.wav: an empty file" in err
    assert "bad: left out. bad.expect: 24 utterances. Expected 99 utterances" in err


def test_what_has_one_cause_is_told_once(cli, make_corpus, write_wav, tmp_path):
    path = make_corpus(emotions=("anger", "neutral"), takes=1)
    for take in range(4):  # m1 says what f1 says
        for speaker in ("f1", "m1"):
            write_wav(path.parent / "toy" / f"{speaker}_anger_{take + 5}.wav", seed=700 + take)
    options = ["-f", "mfcc", "--corpora", path, "--results", tmp_path / "results"]
    code, out, err = cli("extract", "toy", *options)
    (line,) = (line for line in out.splitlines() if "part" in line)
    assert line.startswith("  toy/m1_anger_5.wav and 3 more of toy/m1 take no part: same audio as toy/f1_anger_5.wav")
    options += ["--task", "available", "--text-independent", "-c", "knn,svc"]
    code, out, err = cli("grid", "toy", *options)
    assert code == 1
    assert err.count("its entry gives no texts") == 1
    assert re.search(r"within-text-toy-mfcc-knn-\w+ and 1 more: no result. toy, --text-independent", err)


def test_long_work_is_announced_with_counts_and_time(cli, make_corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(FEATURE_SETS, "mfcc", replace(FEATURE_SETS["mfcc"], cost=100))  # 24 recordings of half a second
    make_corpus(name="aa")
    options = ["-f", "mfcc", "-j", "1", "--corpora", make_corpus(), "--results", tmp_path / "results"]
    assert "serbench: toy, 24 recordings to read, about 20 min\n" in cli("extract", "toy", *options)[2]
    assert "serbench: aa, 24 recordings to read, about 20 min\n" in cli("extract", "toy,aa", *options)[2]
    err = cli("extract", "toy,aa", *options)[2]
    assert "to read" not in err


def test_errors_are_one_message_on_stderr_and_exit_1_and_the_version_is_told(cli, tmp_path):
    assert cli("--version")[:2] == (0, f"serbench {serbench.__version__}\n")
    (tmp_path / "bad.yaml").write_text("toy: {titel: x}\n")
    code, out, err = cli("corpora", "list", "--corpora", tmp_path / "bad.yaml")
    assert (code, out) == (1, "")
    assert "bad.yaml: toy.titel (line 1): unknown key 'titel'. Did you mean 'title'?" in err
    assert "Traceback" not in err
    code, out, err = cli("folds", "emodb", "--target", "arousel", "--results", tmp_path / "results")
    assert (code, out) == (1, "")
    assert "Unknown target 'arousel'. Did you mean 'arousal'" in err


def test_warning_is_told_once_as_a_message_without_its_place_in_the_code(make_corpus, tmp_path):
    path = make_corpus()
    command = [sys.executable, "-c", "from serbench.cli import main; main()", "folds", "toy", "--emotions"]
    command += ["anger,happiness,neutral", "--results", str(tmp_path / "results")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=path.parent).stderr
    (line,) = (line for line in told.splitlines() if "the corpora.yaml of the working directory is used (toy)" in line)
    assert line.startswith("serbench: ")
    assert ".py" not in told


@pytest.mark.parametrize("options", [["--no"], ["--text-independent", "--protocol", "cross"], ["--seed", "0,x"]])
def test_wrong_usage_exits_2(options):
    result = CliRunner().invoke(app, ["grid", *options])
    assert result.exit_code == 2, result.output


def test_options_of_a_grid_are_the_fields_of_its_request(monkeypatch):
    asked = []
    monkeypatch.setattr("serbench.cli.run.check_request", lambda *asked: None)
    monkeypatch.setattr(serbench, "plan_grid", lambda *given, **how: asked.append(given), raising=False)
    other = {
        str: "a b",
        bool: True,
        Path: Path("s.yaml"),
        float: 1.5,
        int: 7,
        list[str]: ("a=b c", "d"),
        list[int]: (5, 9),
    }
    wanted = GridRequest(**{axis.name: other[axis.metadata["option"].type] for axis in fields(GridRequest)})
    wanted = replace(wanted, emotions="a,d=b+c")
    for line in (f"grid toy other {wanted.options}", "grid toy -f IS09 -f IS09", "grid", "grid --text-independent"):
        CliRunner().invoke(app, shlex.split(line))
    others = [GridRequest(("IS09",)), GridRequest(), GridRequest(protocol="within-text")]
    assert [request for _, request, _ in asked] == [wanted, *others]
    assert [corpora for corpora, _, _ in asked] == [("toy", "other"), ("toy",), None, None]
    line = "grid toy --features IS09 --classifier svc --emotions anger,fear --where style=read --protocol adapt --k 5 "
    line += "--k 9 --weight 0.5 --scaling corpus --inner none --space s.yaml --seed 3 --segment 1.5"
    CliRunner().invoke(app, line.split())
    CliRunner().invoke(app, ["grid", *"-f mfcc -c knn --task big6 --target arousal --partition half".split()])
    adapt = {"where": ("style=read",), "protocol": "adapt", "k": (5, 9), "weight": 0.5, "space": Path("s.yaml")}
    adapt |= {"emotions": "anger,fear", "scaling": "corpus", "inner": "none", "seeds": (3,), "segment": 1.5}
    target = GridRequest(("mfcc",), ("knn",), task="big6", target="arousal", partition="half")
    assert [request for _, request, _ in asked[4:]] == [GridRequest(("IS09",), ("svc",), **adapt), target]
    assert GridRequest().features == serbench.DEFAULT_FEATURES


def test_commas_repetition_and_either_spelling_ask_for_the_same(monkeypatch):
    asked = []
    monkeypatch.setattr(serbench, "plan_grid", lambda *given, **how: asked.append(given), raising=False)
    monkeypatch.setattr(serbench, "extract_features", lambda *given, **how: asked.append(given[:2]), raising=False)
    repeated = "toy other -f IS09 -f mfcc --classifier svc --classifier knn --emotions anger --emotions joy=fear+calm "
    repeated += "--where style=read --where session=1 --protocol adapt --k 5 --k 9 --seed 1 --seed 2"
    commas = "toy,other --feature IS09,mfcc --classifiers svc,knn --emotions anger,joy=fear+calm "
    commas += "--where style=read,session=1 --protocol adapt --k 5,9 --seeds 1,2"
    for line in (repeated, commas):
        CliRunner().invoke(app, ["grid", *line.split()])
        CliRunner().invoke(app, ["extract", *line.split("--c")[0].split()])
    assert asked[:2] == asked[2:]
    assert asked[0][1].classifiers == ("svc", "knn")
    assert asked[1] == (("toy", "other"), ("IS09", "mfcc"))


def test_package_runs_as_a_module():
    told = subprocess.run([sys.executable, "-m", "serbench", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"serbench {serbench.__version__}\n"


def test_corpora_are_listed_with_where_to_get_them_and_counted(cli, make_corpus, tmp_path):
    path = make_corpus()
    code, out, err = cli("corpora", "list", "--corpora", path)
    assert code == 0, err
    here, elsewhere = out.split("Not on this disk:")
    assert "toy" in here
    assert "Get it: https://sail.usc.edu/iemocap/ (signed release form)" in elsewhere
    assert "[names not verified]" in elsewhere
    code, out, err = cli("corpora", "stats", "toy", "--corpora", path, "--results", tmp_path / "results")
    assert code == 0, err
    assert "Table 1. Data statistics" in out
    assert "4 (2 f, 2 m)" in out
    code, out, _ = cli("corpora", "schema")
    assert json.loads(out)["$defs"]["Corpus"]


def test_folds_are_csv_on_stdout_or_in_a_file(cli, make_corpus, tmp_path):
    path = make_corpus()
    arguments = ["folds", "toy", "--emotions", "anger,neutral", "--corpora", path, "--results", tmp_path / "results"]
    code, out, err = cli(*arguments, "--output", tmp_path / "folds.csv")
    assert code == 0, err
    table = pd.read_csv(tmp_path / "folds.csv")
    assert len(table) == 16
    assert set(table["fold"]) == {"f1", "f2", "m1", "m2"}
    assert table.set_index("fold")["tuning_folds"]["f1"].iloc[0] == "f2 m1 m2"
    code, out, _ = cli(*arguments)
    assert out == (tmp_path / "folds.csv").read_text()


def test_features_are_exported_as_one_file(cli, make_corpus, tmp_path):
    options = ["--corpus", "toy", "--corpora", make_corpus(), "--results", tmp_path / "results"]
    for name, read in (("out.parquet", pd.read_parquet), ("out.csv", pd.read_csv)):
        code, out, err = cli("features", "export", "mfcc", tmp_path / name, *options)
        assert code == 0, err
        table = read(tmp_path / name)
        assert (table.shape, table["utterance"][0]) == ((24, 157), "toy/f1_anger_0.wav")


@pytest.mark.parametrize("name", ["svc", "rf", "mlp", "dummy"])
def test_settings_of_a_classifier_are_shown_as_a_file_of_the_same_space(cli, tmp_path, name):
    code, out, err = cli("classifiers", "show", name)
    assert code == 0, err
    assert ("# gamma counts in units of 1 / n_features" in out) == (name == "svc")
    (tmp_path / "spaces.yaml").write_text(out)
    space, classifier = read_spaces(tmp_path / "spaces.yaml")[name], find_classifier(name)
    assert space.settings == classifier.space
    assert space.settings[space.default] == classifier.default


def test_cells_are_listed_and_removed_by_name_pattern_or_state(cli, make_corpus, tmp_path):
    place = ["--results", tmp_path / "results"]
    options = ["--emotions", "anger,neutral", "--scaling", "none", "-j", "1", "--corpora", make_corpus()]
    cli("grid", "toy", "-f", "mfcc", "-c", "knn,dummy", *options, *place)
    code, out, err = cli("cells", "list", *place)
    assert code == 0, err
    dummy, knn = re.findall(r"^within-toy-mfcc-\S+$", out, re.MULTILINE)
    assert "\n  toy mfcc dummy (anger,neutral, inner all, scaling none)\n" in out
    assert "toy mfcc knn (anger,neutral, inner auto, scaling none): refused. toy: knn with" in " ".join(out.split())
    assert cli("cells", "list", "--refused", "*-toy-*", *place)[1].splitlines()[0] == knn
    assert cli("cells", "remove", *place)[0] == 2
    code, out, err = cli("cells", "remove", "within-toy-mfcc-dumy", *place)
    assert (code, out) == (1, "")
    assert f"no cell 'within-toy-mfcc-dumy'. Did you mean '{dummy}'?" in err
    code, out, err = cli("cells", "remove", "--refused", "--yes", *place)
    assert (code, out.splitlines()[0]) == (0, knn)
    assert [path.stem for path in Store(tmp_path / "results").cells] == [dummy]


def test_serbench_toml_gives_defaults_and_options_and_the_environment_go_before_it(cli, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(serbench, "plan_grid", lambda *given, **how: asked.append(given), raising=False)
    monkeypatch.setattr(serbench, "extract_features", lambda *given, **how: asked.append(given), raising=False)
    monkeypatch.setattr("serbench.cli.DEFAULTS", tmp_path / "serbench.toml")
    monkeypatch.setenv("SERBENCH_DATA", "")  # so that it is as it was after this test
    monkeypatch.delenv("SERBENCH_DATA")
    (tmp_path / "emodb").mkdir()
    text = f"data = '{tmp_path}'\nresults = '~/out'\ncorpora = ['emodb', 'savee']\nfeatures = 'IS10,mfcc'\n"
    (tmp_path / "serbench.toml").write_text(text + "classifiers = ['knn']\n")
    for line in ("grid", "grid tess -f IS09 --results here", "extract"):
        CliRunner().invoke(app, line.split())
    file, given, extracted = asked
    assert file[:2] == (("emodb", "savee"), GridRequest(("IS10", "mfcc"), ("knn",)))
    assert file[2].results == Path.home() / "out"
    assert given[:2] == (("tess",), GridRequest(("IS09",), ("knn",)))
    assert given[2].results == "here"
    assert extracted[:2] == (("emodb", "savee"), ("IS10", "mfcc"))
    code, out, err = cli("corpora", "list")
    assert code == 0, err
    assert re.search(r"On this disk:\n  emodb .*\nNot on this disk:", out)
    assert "serbench.toml: data" in err
    monkeypatch.setenv("SERBENCH_DATA", str(tmp_path / "other"))
    assert "On this disk: none" in cli("corpora", "list")[1]


def test_faults_of_serbench_toml_are_told_at_once(cli, monkeypatch, tmp_path):
    monkeypatch.setattr("serbench.cli.DEFAULTS", tmp_path / "serbench.toml")
    (tmp_path / "serbench.toml").write_text("corpus = 'emodb'\nfeatures = 7\n")
    code, out, err = cli("corpora", "list")
    assert (code, out) == (1, "")
    assert "serbench.toml: corpus: unknown key 'corpus'. Did you mean 'corpora'?" in err
    assert "serbench.toml: features: 7. Expected a list" in err
    (tmp_path / "serbench.toml").write_text("corpora: emodb")
    assert "serbench.toml: Expected '='" in cli("corpora", "list")[2]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("grid em", ["emodb", "emovo"]),
        ("grid -c svc,k", ["svc,knn"]),
        ("grid --protocol with", ["within", "within-text"]),
        ("rep", ["report"]),
    ],
)
def test_shells_complete_commands_and_names_after_commas_too(line, told, monkeypatch):
    monkeypatch.setenv("_SERBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"serbench {line}")
    monkeypatch.setenv("COMP_CWORD", str(len(line.split())))
    assert CliRunner().invoke(app, [], prog_name="serbench").output.split() == told


MARKED = [("svc", "0.500", "[.40, .60]"), ("rf\tx", "0.480", "[.35, .60] ≈"), ("knn", "0.300", "[.20, .40]")]
ROWS = [(Entry("IS09"), Entry(name), Entry(value, aside, bold=name == "svc")) for name, value, aside in MARKED]
TABLE_2 = make_table("table2-uar", "Table 2", ("features", "classifier", "toy"), ROWS, notes=("≈ means",), n_labels=2)


@pytest.mark.parametrize("width", range(60, 100))
def test_nothing_of_a_table_is_cut_in_any_terminal_and_blocks_repeat_the_labels(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    columns = ("emodb", "nemo", "ravdess", "emovo", "savee")
    values = [Entry("0.768", "[.70, .84] ≈")] * 5
    rows = [(Entry("own"), Entry(name), *values) for name in ("svc", "wav2vec2-large†")]
    print_table(make_table("t", "Title", ("features", "classifier", *columns), rows, n_labels=2))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert "…" not in out
    assert out.count("0.768 [.70, .84] ≈") == 10
    assert out.count("features") == {60: 5, 61: 5, 79: 3, 80: 3, 99: 2}.get(width, out.count("features"))


def test_marks_and_intervals_are_shown_and_on_a_terminal_in_colour(capsys, monkeypatch):
    print_table(TABLE_2)
    plain = capsys.readouterr().out
    assert "0.480 [.35, .60] ≈" in plain
    assert "\x1b" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_table(TABLE_2)
    coloured = capsys.readouterr().out
    assert re.search(r"\x1b\[1;32m *0.500", coloured)
    assert re.search(r"\x1b\[32m *0.480", coloured)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_plain_table_is_parted_by_tabs_for_other_programs(capsys):
    print_plain(TABLE_2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["# Table 2", "features\tclassifier\ttoy", "IS09\tsvc\t0.500 [.40, .60]"]
    assert lines[3:] == ["IS09\trf x\t0.480 [.35, .60] ≈", "IS09\tknn\t0.300 [.20, .40]"]


def test_progress_off_a_terminal_is_plain_lines(capsys):
    progress = ProgressLine()
    for i in range(1, 101):
        progress("extract toy", i, 100, i / 100)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("extract toy: 100/100,")


STEERING = "\x1b[2J\r\x07\x9b\u202e"


def test_names_on_disk_cannot_steer_the_terminal(cli, make_corpus, write_wav, tmp_path):
    path = make_corpus(emotions=("anger",), takes=1)
    root = path.parent / "toy"
    for speaker in ("f1", "m1"):  # copies across speakers are named on stdout, what cannot be read on stderr
        write_wav(root / f"{STEERING}{speaker}_anger_7.wav", seed=77)
    (root / f"{STEERING}f1_anger_8.wav").write_bytes(b"")
    code, out, err = cli("extract", "toy", "-f", "mfcc", "--corpora", path, "--results", tmp_path / "results")
    assert code == 1, err
    assert "\\x1b[2J\\r\\x07\\x9b\\u202em1_anger_7.wav takes no part" in out
    assert "\\x1b[2J\\r\\x07\\x9b\\u202ef1_anger_8.wav" in err
    assert not set(STEERING) & set(out + err) - set("[2J")


def test_names_in_tables_cannot_steer_the_terminal(capsys):
    name = f"a{STEERING}"
    hostile = make_table("t", name, (name, name), ((Entry(name), Entry("0.5", aside=name)),), notes=(name,), n_labels=1)
    print_table(hostile)
    print_plain(hostile)
    assert not set(STEERING) & set(capsys.readouterr().out) - set("[2J")
