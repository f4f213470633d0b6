"""A report of a run as one HTML file that needs nothing but itself."""

from callbacks.report.html import contents, facts, page, tag
from callbacks.report.record import Record
from callbacks.report.sections import configuration, curves, diagnosis, measured, modes, samples, spectra

__all__ = ["Record", "render"]


def render(record: Record) -> str:
    """The report as an HTML document: no network, no script, and everything from the record is escaped."""
    parts = [
        diagnosis(record),
        samples(record),
        modes(record),
        curves(record),
        *spectra(record),
        measured(record),
        configuration(record),
    ]
    found = [part for part in parts if part is not None]
    header = tag("header", tag("h1", record.title), facts(record.facts))
    return page(f"{record.title}: diagnosis", header, contents(found), tag("main", *found))
