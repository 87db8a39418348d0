"""HTML pages from the templates of this package, which extend those of ``worldsim.plotting``."""

from typing import Any

import jinja2
from markupsafe import Markup

from worldsim.plotting.style import STYLE


def render_page(template: str, **values: Any) -> str:
    """Fill a template; every value is escaped unless it is a ``Markup`` (such as an SVG chart).

    Raises:
        jinja2.UndefinedError: the template uses a name that has no value.
    """
    packages = ("worldsim.evaluation.reports", "worldsim.plotting")
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = Markup(STYLE)
    return environment.get_template(template).render(values)
