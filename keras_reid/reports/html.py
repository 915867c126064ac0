"""HTML: the templates of pages; what they show is text, never markup."""

from __future__ import annotations

import jinja2

from keras_reid.evaluation.tables import shown_name
from keras_reid.reports.words import percent


def template(name: str) -> jinja2.Template:
    """Returns a template of the folder `templates`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_reid.reports"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "shown": shown_name}
    return environment.get_template(name)
