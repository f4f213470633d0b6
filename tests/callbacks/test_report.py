"""The report: it says what was found, needs nothing but itself, and reads on a phone, on paper and out loud."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import unicodedata
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from callbacks import CurvatureSpectrum, GameSpectrum, WeightSpectrum
from callbacks.failures import Finding
from callbacks.metrics import PowerSpectrum
from callbacks.report import Record, render
from callbacks.report.curves import of_directory, of_observations
from callbacks.weight_spectrum import Layer
from gan_modules.dynamics import LayerSpectrum, SpectralDensity, Stability

EVIL = "</pre></style><script>document.title='taken'</script><img src=x onerror=alert(1)>\"'&"
FINDING = Finding(
    "limit cycle", ("the players return every 12.5 iterations",), "--model.rule Extragradient", "it damps"
)


def images(n: int, *shape: int) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(n))


def diagnostics() -> list[Any]:
    """Diagnostics after a look, with numbers of about the right shape."""
    circle = torch.polar(torch.linspace(1.01, 0.5, 12).double(), torch.linspace(-3, 3, 12).double())
    game = GameSpectrum()
    game.answer = Stability(
        verdict="unstable", radius=1.01, limit=0.9, kind="Neimark-Sacker", binding=0.6 + 0.8j, period=6.8,
        multipliers=circle, multiplier_residuals=torch.zeros(12), exponents=circle - 1,
        exponent_residuals=torch.zeros(12), rotation=0.9, null=0, resolved=True, direction=None, products=10.0,
    )  # fmt: skip
    weights = WeightSpectrum()
    values = torch.logspace(0, -3, 32).double()
    weights.layers = {
        f"{player}.hidden.{i}": Layer(values[:3], 32, 4.0, LayerSpectrum(values, exact=True))
        for player in ("generator", "discriminator")
        for i in range(4)
    }
    curvature = CurvatureSpectrum()
    nodes = torch.linspace(-0.2, 1.0, 30).double()
    curvature.density = {"generator": SpectralDensity(nodes, torch.full((30,), 1 / 30).double())}
    curvature.singular_values = torch.logspace(0, -2, 16).double().repeat(4, 1)
    return [game, weights, curvature]


def power_spectrum() -> PowerSpectrum:
    metric = PowerSpectrum()
    metric.update(images(40, 1, 16, 16), real=True)
    metric.update(images(41, 1, 16, 16) ** 2, real=False)
    metric.compute()
    return metric


def record(**changes: Any) -> Record:
    """A record with everything in it."""
    steps = list(range(1, 200))
    curves = {name: (steps, [1 / s for s in steps]) for name in ("loss/generator", "loss/discriminator", "fid")}
    whole = Record(
        title="ring-1",
        facts={"model": "NSGAN", "iteration": "3,000"},
        findings=[FINDING],
        command="gan-modules fit --config runs/ring-1/config.yaml",
        values={"fid": 3.25, "health/signal": 0.5, "curvature/smoothness": 2.0},
        floors={"fid": 0.5},
        looks={"SampleMetrics": 2.0},
        curves=curves | {"fid_floor": (steps, [0.5 for _ in steps])},
        samples=images(64, 1, 8, 8),
        reals=images(65, 1, 8, 8),
        modes=([0.5, 0.5, 0.0], [0.3, 0.3, 0.4]),
        metrics=[power_spectrum()],
        diagnostics=diagnostics(),
        config="model: NSGAN\n",
    )
    return replace(whole, **changes)


@pytest.fixture(scope="module")
def document() -> str:
    """The report of a record with everything in it."""
    return render(record())


class Page(HTMLParser):
    """What a browser would make of a document, as far as tests ask."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def test_it_names_failures_with_evidence_and_a_command_to_try(document: str) -> None:
    words = Page(document).words
    assert "limit cycle the players return every 12.5 iterations" in words
    assert "gan-modules fit --config runs/ring-1/config.yaml --model.rule Extragradient" in words


def test_it_says_that_nothing_was_found_and_what_was_looked_at() -> None:
    words = Page(render(record(findings=[]))).words
    assert "None found" in words
    assert "Looked at: SampleMetrics" in words
    assert "limit cycle" not in words


def test_what_could_not_be_measured_is_named_with_the_reason() -> None:
    words = Page(render(record(missing={"GameSpectrum": "LookupOp has no second derivative"}))).words
    assert "GameSpectrum LookupOp has no second derivative" in words
    assert "The game's spectrum" not in words  # of a look that failed there is no picture


def test_numbers_stand_beside_those_of_real_samples(document: str) -> None:
    assert re.search(r"fid Frechet distance[^0-9]* 3\.25 0\.5 ", Page(document).words)


def test_modes_that_are_lost_are_listed(document: str) -> None:
    assert "2 of 3 modes have at least a fifth of their share in the data; missing: 2" in Page(document).words


def test_an_empty_record_is_a_report_still() -> None:
    words = Page(render(Record())).words
    assert "No diagnosis was made" in words
    assert "holds no history of the run" in words


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(document: str) -> None:
    assert "://" not in document
    assert "@import" not in document
    page = Page(document)
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & {name for name, _ in page.tags}
    for name, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on")], (name, attributes)
        for key in ("src", "href", "xlink:href", "srcset", "poster"):
            assert (attributes.get(key) or "#").startswith(("#", "data:image/png;base64,")), (name, attributes)
    assert not re.findall(r"url\((?!#)", document)
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_everything_that_a_checkpoint_says_is_escaped(document: str) -> None:
    evil = replace(FINDING, failure=EVIL, evidence=(EVIL,), remedy=EVIL, why=EVIL)
    curves = {f"loss/{EVIL}": ([1, 2], [1.0, 2.0]), "loss/x": ([1, 2], [1.0, 2.0])}
    layers = diagnostics()
    layers[1].layers = {f"generator.{EVIL}": layer for layer in layers[1].layers.values()}
    hostile = record(
        title=EVIL, facts={EVIL: EVIL}, findings=[evil], command=EVIL, config=EVIL, values={EVIL: 1.0, "fid": 2.0},
        floors={EVIL: 1.0}, looks={EVIL: 1.0}, missing={EVIL: EVIL}, left_out={EVIL: EVIL}, curves=curves,
        diagnostics=layers,
    )  # fmt: skip
    page, plain = Page(render(hostile)), Page(document)
    assert not page.all("script")
    assert len(page.all("img")) == len(plain.all("img"))
    assert EVIL in unescape(" ".join(page.text))  # it is shown, as text


def test_who_cannot_see_it_is_told_what_pictures_show(document: str) -> None:
    page = Page(document)
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    for image in page.all("img"):
        assert image["alt"]
    drawings = page.all("svg")
    assert len(drawings) > 5
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert len(drawing["aria-label"] or "") > 30
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_ids_are_used_once_and_every_reference_has_its_target(document: str) -> None:
    ids = [value for _, attributes in Page(document).tags if (value := attributes.get("id"))]
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="|url\()#([\w-]+)', document) + re.findall(r'aria-labelledby="([\w-]+)"', document)
    assert set(used) <= set(ids)


def test_text_in_drawings_is_text(document: str) -> None:
    assert "Hessian of the generator's loss" in Page(document).words
    assert "mathdefault" not in document


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1,), "Generated numbers, mean"),
        ((2,), "Generated points over held-out data"),
        ((6,), "of 6 dimensions the two widest"),
        ((3, 32, 32), "64 generated images"),
        ((5, 8, 8), "64 generated images"),
        ((4, 4), "have no picture"),
    ],
    ids=["number", "plane", "space", "colour", "five channels", "matrix"],
)
def test_samples_of_any_shape(shape: tuple[int, ...], words: str) -> None:
    document = render(Record(samples=images(100, *shape), reals=images(101, *shape)))
    assert words in Page(document).words
    assert words.split(",")[0] in Page(render(Record(samples=images(100, *shape)))).words  # without data beside


@pytest.mark.parametrize("value", [torch.nan, 0.0], ids=["nan", "constant"])
def test_samples_of_a_generator_that_is_gone(value: float) -> None:
    for shape in ((1,), (2,), (1, 8, 8)):
        assert "Samples" in render(Record(samples=torch.full((100, *shape), value), reals=images(101, *shape)))


def test_the_file_stays_small() -> None:
    large = record(samples=images(64, 3, 128, 128), reals=images(65, 3, 128, 128))
    assert len(render(large).encode()) < 2_000_000


# --- curves -----------------------------------------------------------------------------------------------------------


def test_curves_of_a_run_that_was_continued(tmp_path: Path) -> None:
    for version, text in {
        "version_0": "step,epoch,loss/generator,note\n9,0,1.5,\n19,0,nan,words\n29,0,9.0,\n",
        "version_1": "epoch,step,loss/generator,fid\n1,29,2.5,\n1,39,,7.0\n2,49,3.5,\n",
        "version_x": "step,loss/generator\n9,100.0\n",
    }.items():
        (tmp_path / "metrics" / version).mkdir(parents=True)
        (tmp_path / "metrics" / version / "metrics.csv").write_text(text)
    assert of_directory(tmp_path, until=40) == {"loss/generator": ([10, 30], [1.5, 2.5]), "fid": ([40], [7.0])}
    assert of_directory(tmp_path / "nowhere", until=40) == {}


def test_curves_of_observations_leave_out_what_is_not_finite() -> None:
    assert of_observations([(1, {"a": 1.0}), (2, {"a": float("inf"), "b": 2.0})]) == {
        "a": ([1], [1.0]),
        "b": ([2], [2.0]),
    }


# --- in a browser -----------------------------------------------------------------------------------------------------

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
FOUND = next((path for name in BROWSERS if (path := shutil.which(name))), None)
browser = pytest.mark.skipif(
    FOUND is None, reason=f"needs a browser: none of {', '.join(BROWSERS)} is there (apt-get install chromium)"
)

#: a page that shows the report in a window of a phone's width, and says what became of it
WATCH = """<!doctype html><title>wait</title><body><iframe id="f" width="{width}" height="740" src="{page}"></iframe>
<pre id="out"></pre><script>
onload = () => {{
  const f = document.getElementById("f"), d = f.contentDocument, r = d.documentElement;
  const wide = [...d.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > r.clientWidth + 1);
  const seen = e => e.getBoundingClientRect().height > 20, drawn = e => e.complete && e.naturalWidth > 0;
  const named = e => e.tagName + e.textContent.slice(0, 40);
  document.getElementById("out").textContent = JSON.stringify({{
    title: d.title, overflow: r.scrollWidth - r.clientWidth, wide: wide.map(named),
    loaded: f.contentWindow.performance.getEntriesByType("resource").map(e => e.name),
    drawings: [...d.querySelectorAll("svg")].map(seen), images: [...d.images].map(drawn),
    smallest: Math.min(...[...d.querySelectorAll("svg text")].map(e => e.getBoundingClientRect().height)),
  }});
}};
</script>"""


def browse(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert FOUND is not None
    # no name resolves: what a page asks of the network fails, and says so on the console
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND", "--no-first-run")
    private = (f"--user-data-dir={tmp_path / 'profile'}", "--allow-file-access-from-files", "--enable-logging=stderr")
    done = subprocess.run([FOUND, *quiet, *private, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def watched(tmp_path: Path, document: str, width: int) -> dict[str, Any]:
    (tmp_path / "report.html").write_text(document)
    (tmp_path / "watch.html").write_text(WATCH.format(width=width, page="report.html"))
    done = browse(tmp_path, "--virtual-time-budget=4000", "--dump-dom", f"file://{tmp_path / 'watch.html'}")
    said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert not said, said
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.S)
    assert found is not None
    result: dict[str, Any] = json.loads(unescape(found[1]))
    return result


@browser
@pytest.mark.parametrize("width", [360, 1000])
def test_a_browser_shows_all_of_it_without_scrolling_sideways(tmp_path: Path, width: int) -> None:
    long = {"GameSpectrum": "x" * 300}
    document = render(record(missing={"Another" + "y" * 90: "z " * 90, **long}, config="key: " + "v" * 500))
    seen = watched(tmp_path, document, width)
    assert seen["title"] == "ring-1: diagnosis"
    assert seen["overflow"] <= 0, seen["wide"]
    assert not seen["wide"]
    assert [name for name in seen["loaded"] if not name.startswith("data:")] == []
    assert seen["drawings"]
    assert all(seen["drawings"])
    assert len(seen["images"]) == 2
    assert all(seen["images"])
    assert seen["smallest"] > 8  # pixels of a line of the smallest text in a drawing


@browser
def test_a_browser_does_not_run_what_a_checkpoint_says(tmp_path: Path) -> None:
    hostile = record(title=EVIL, config=EVIL, missing={EVIL: EVIL})
    assert watched(tmp_path, render(hostile), 360)["title"].startswith(EVIL)


@browser
def test_it_prints_with_every_section(tmp_path: Path, document: str) -> None:
    reader = pytest.importorskip("pypdf", reason="reads what was printed: pip install pypdf").PdfReader
    (tmp_path / "report.html").write_text(render(record(config="line: 1\n" * 150 + "last: line\n")))
    browse(
        tmp_path, f"--print-to-pdf={tmp_path / 'out.pdf'}", "--no-pdf-header-footer", f"file://{tmp_path}/report.html"
    )
    pages = [page.extract_text() for page in reader(tmp_path / "out.pdf").pages]
    words = " ".join(unicodedata.normalize("NFKC", " ".join(pages)).split())  # ligatures apart
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", document)
    assert len(titles) > 8
    for title in titles:
        assert unescape(title) in words
    assert "limit cycle" in words
    assert "last: line" in words
