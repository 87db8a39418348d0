"""Registers WorldSim's environments as soon as Gymnasium is imported.

Gymnasium dropped its plugin entry points in 1.0, so nothing would call ``register_envs`` before ``gymnasium.make``.
``setup.py`` installs a copy of this file beside the packages, with a ``.pth`` line that imports it when Python starts:
hence it imports nothing but ``sys`` by then, and does nothing but wait for Gymnasium.
"""

import sys


class WaitForGymnasium:
    """Meta path finder that lets others find Gymnasium, registers the environments after it ran, and goes away."""

    def find_spec(self, name, path=None, target=None):
        """Leave every module to the other finders; wrap the loader of Gymnasium."""
        if name != "gymnasium":
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_register(module):
                run(module)
                register()

            spec.loader.exec_module = run_and_register
        return spec


def register():
    """Register; a broken installation of WorldSim must not break Gymnasium."""
    try:
        from worldsim.envs.registration import register_envs

        register_envs()
    except ImportError as error:
        import warnings

        warnings.warn(f"WorldSim's environments are not registered: {error}", stacklevel=2)


if "gymnasium" in sys.modules:
    register()
else:
    sys.meta_path.insert(0, WaitForGymnasium())
