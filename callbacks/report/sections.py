"""The parts of a report, each of which is there where something is known of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from callbacks.report.curve_panels import draw_curves
from callbacks.report.html import Markup, section, table, tag
from callbacks.report.record import Record
from callbacks.report.samples import draw_modes, draw_samples
from callbacks.report.spectra import SPECTRA, power
from callbacks.report.words import METRICS

#: a part of the page, or None where nothing is known of it
Part = Callable[[Record], Markup | None]


def diagnosis(record: Record) -> Markup:
    """The failures that were found, with evidence and remedy."""
    if record.findings is None:
        body = [tag("p", "No diagnosis was made.", class_="soft")]
    elif not record.findings:
        looked = ", ".join(record.looks) or "nothing"
        body = [
            tag(
                "div",
                tag("h3", "None found"),
                tag("p", f"No failure shows in what was measured. Looked at: {looked}."),
                class_="finding none",
            )
        ]
    else:
        body = [
            tag(
                "article",
                tag("h3", finding.failure),
                tag("ul", *(tag("li", evidence) for evidence in finding.evidence)),
                tag("p", f"Try ({finding.why}):"),
                tag("pre", tag("code", f"{record.command} {finding.remedy}")),
                class_="finding",
            )
            for finding in record.findings
        ]
    if record.missing:
        body.append(tag("p", f"Not judged, because it could not be measured: {', '.join(record.missing)}; ",
                        tag("a", "the reasons", href="#measured"), ".", class_="soft"))  # fmt: skip
    return section("diagnosis", "Diagnosis", *body)


def samples(record: Record) -> Markup | None:
    """Pictures of samples, and numbers of them."""
    parts: list[Markup] = []
    if record.samples is not None:
        parts.append(draw_samples(record.samples, record.reals))
    quantities = [name for name in record.values if name in record.floors]
    if quantities:
        rows = [(_metric(name), record.values[name], record.floors[name]) for name in quantities]
        parts.append(table(("metric", "samples", "real samples"), rows, "Samples against held-out data"))
    return section("samples", "Samples", *parts) if parts else None


def _metric(name: str) -> Markup:
    words = METRICS.get(name)
    return tag("span", name, *([" ", tag("span", words, class_="soft")] if words else []))


def modes(record: Record) -> Markup | None:
    """Which modes of the data the samples are in."""
    if record.modes is None:
        return None
    generated, real = record.modes
    return section("modes", "Modes", draw_modes(list(generated), list(real)))


def curves(record: Record) -> Markup | None:
    """How the run went."""
    drawn = draw_curves(record.curves)
    words = (
        "The checkpoint holds no history of the run, and there is no metrics.csv beside it: add callbacks.Diagnosis."
    )
    return section("curves", "Curves of the run", drawn or tag("p", words, class_="soft"))


def spectra(record: Record) -> Sequence[Markup]:
    """A part for each diagnostic that looked, and for images."""
    found = []
    for name, (title, draw) in SPECTRA.items():
        diagnostic = record.diagnostic(name)
        body = None if diagnostic is None else draw(record, diagnostic)
        if body is not None:
            found.append(section(name.lower(), title, body))
    body = power(record)
    return found if body is None else [*found, section("power", "Power spectrum of images", body)]


def measured(record: Record) -> Markup:
    """What was measured, what it took, and what could not be."""
    parts = []
    if record.looks:
        parts.append(table(("measurement", "seconds"), record.looks.items(), "What was measured"))
    if record.missing:
        parts.append(table(("measurement", "why not"), record.missing.items(), "What could not be measured"))
    if record.left_out:
        parts.append(table(("measurement", "why"), record.left_out.items(), "What does not apply"))
    rows = [(name, value) for name, value in sorted(record.values.items())]
    if rows:
        parts.append(table(("logged name", "value"), rows, "All numbers"))
    return section("measured", "All that was measured", *parts)


def configuration(record: Record) -> Markup | None:
    """The run's configuration."""
    if not record.config:
        return None
    return section("configuration", "Configuration", tag("pre", tag("code", record.config)))
