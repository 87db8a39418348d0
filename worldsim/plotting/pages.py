"""HTML pages from the templates of this package."""

from typing import Any

import jinja2
from markupsafe import Markup

from worldsim.plotting.style import STYLE


def render_page(template: str, **values: Any) -> str:
    """Fill a template of ``worldsim/plotting/templates``, for example ``check.html``.

    Every value is escaped unless it is a ``Markup`` (such as an SVG chart). Pages extend ``base.html``.

    Raises:
        jinja2.UndefinedError: the template uses a name that has no value.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("worldsim.plotting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = Markup(STYLE)
    return environment.get_template(template).render(values)
