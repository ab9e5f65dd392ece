"""A target text to the operator that it names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from convverify.answers import first_line
from convverify.target import Target, TargetError


def load(spec: str, domain: str = "") -> Target:
    """The target that `pkg.mod:attribute` or `path/to/file.py:attribute` names.

    Raises:
        TargetError: there is no such module, file or attribute, its import fails, or it is not callable.
    """
    place, colon, attribute = spec.rpartition(":")
    if not colon or not place or not attribute:
        raise TargetError(
            f"target {spec!r} must name a module or file and an attribute, such as "
            "torch.nn.functional:conv2d or path/to/file.py:my_conv"
        )
    found: Any = _module(place)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise TargetError(f"target {spec!r}: {place} has no attribute {attribute!r}{_hint(found)}")
        found = getattr(found, part)
    if not callable(found):
        raise TargetError(f"target {spec!r} is a {type(found).__name__}, which is not callable")
    return Target(found, spec, domain)


def _module(place: str) -> ModuleType:
    try:
        if not place.endswith(".py"):
            if (here := str(Path.cwd())) not in sys.path:
                sys.path.insert(0, here)
            return importlib.import_module(place)
        path = Path(place).resolve()
        if not path.is_file():
            raise TargetError(f"target file {place!r} does not exist")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return module
    except TargetError:
        raise
    except ModuleNotFoundError as error:
        raise TargetError(f"target module {place!r} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        raise TargetError(f"target module {place!r} failed to import: {first_line(error)}") from error


def _hint(module: Any) -> str:
    names = [name for name in dir(module) if not name.startswith("_") and callable(getattr(module, name, None))]
    own = [name for name in names if getattr(getattr(module, name), "__module__", "") == getattr(module, "__name__", 0)]
    return f"; it has {', '.join(own[:8])}" if own else ""
