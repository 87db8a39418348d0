"""HTML pages from template files. Each package that writes pages keeps its own in its folder ``templates``."""

from typing import Any

import jinja2
from markupsafe import Markup

from worldsim.plotting.style import STYLE


def render_page(template: str, *, package: str, **values: Any) -> str:
    """Fill a template.

    Every value is escaped unless it is a ``Markup`` (such as an SVG chart). Pages extend ``base.html`` of this package.

    Args:
        template: its file's name, for example ``check.html``.
        package: whose folder ``templates`` holds it, for example ``worldsim.datasets.checks``.
        **values: for the names that the template uses.

    Raises:
        jinja2.UndefinedError: the template uses a name that has no value.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("worldsim.plotting")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = Markup(STYLE)
    return environment.get_template(template).render(values)
