"""An operator under test: how it is found, what it takes, and how it is called.

Every call of the operator goes through `Target`, so that what the operator raises is told apart from what
the verifier raises.
"""

from __future__ import annotations

import copy
import dis
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from convverify.domain import Domain
from convverify.signature import DEFAULTS, PARAMETERS, Signature, SignatureError, has_defaults, is_default, signature_of

_OF_A_MODULE = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "padding_mode": "zeros"}


# What torch says where it does not do something; an operator that lets it through has refused as clearly. That an
# operation has no derivative is not among it: its author may not know.
_REFUSED = re.compile(r"(?i)^(?!.*derivative).*\b(not (yet |currently )?(supported|implemented)|unsupported)\b")
_NO_MEMORY = re.compile("DefaultCPUAllocator|std::bad_alloc")


class TargetError(Exception):
    """A target that cannot be found or called at all."""


class Unsupported(Exception):  # noqa: N818 - an answer of the operator, not an error
    """The operator says that it does not do this."""


class OperatorError(Exception):
    """The operator raised where it should work."""


class OperatorHang(BaseException):
    """The operator did not come back in time; no operator's `except Exception` may swallow it."""


class Target:
    """An operator under test, called like `torch.nn.functional.conv2d`.

    Args:
        operator: a callable with (a prefix of) that signature, an `autograd.Function` class, or a module
            class with the constructor of `nn.Conv2d`.
        name: what reports call it; where it was loaded from, if it was.
        domain: what it claims to support.
    """

    def __init__(self, operator: Any, name: str = "", domain: str | Domain = "") -> None:
        self.operator = operator
        self.name = name or _name_of(operator)
        self.call, self.signature = _callable_of(operator)
        self.accepts = self.signature.accepts
        self.domain = (domain if isinstance(domain, Domain) else Domain.parse(domain)).taking(self.accepts)
        self.has_defaults = not inspect.isclass(operator) and has_defaults(operator)

    @property
    def module_class(self) -> type[torch.nn.Module] | None:
        """The module class, where the target is one."""
        return self.operator if _is_class_of(self.operator, torch.nn.Module) else None

    def called(self, signature: Signature, *words: str) -> Target:
        """The same operator, called by this signature, in a domain with these words besides."""
        other = copy.copy(self)
        if signature is not self.signature:
            other.call, other.signature, other.accepts = signature.calling(self.operator), signature, signature.accepts
            other.domain = other.domain.taking(signature.accepts)
        other.domain = other.domain.with_words(*words)
        return other

    def __call__(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
    ) -> Any:
        """Call the operator with as many arguments as it takes.

        Raises:
            Unsupported: it does not take an argument that is needed here, or says so itself.
            OperatorError: it raised anything else, or something did inside it.
        """
        given = dict(zip(PARAMETERS, (input, weight, bias, stride, padding, dilation, groups), strict=True))
        for name, default in DEFAULTS.items():
            if name not in self.accepts and not is_default(given[name], default):
                raise Unsupported(f"it takes no {name}")
        return self.guarded(self.call, *self.taken(*given.values()))

    def taken(self, *arguments: Any) -> tuple[Any, ...]:
        """Those of all arguments, in torch's order, that `call` takes."""
        given = dict(zip(PARAMETERS, arguments, strict=True))
        return tuple(given[name] for name in self.accepts)

    def guarded(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Run anything that may run the operator's code (its backward, say), telling its errors apart."""
        try:
            return function(*arguments, **named)
        except (KeyboardInterrupt, OperatorHang, Unsupported, OperatorError):
            raise
        except (NotImplementedError, MemoryError, torch.OutOfMemoryError) as error:
            raise Unsupported(_message(error)) from error
        except RuntimeError as error:
            refusal = _REFUSED.search(str(error)) or _NO_MEMORY.search(str(error))
            raise (Unsupported if refusal else OperatorError)(_message(error)) from error
        except (ValueError, TypeError, AssertionError) as error:
            raise (Unsupported if _is_refusal(error) else OperatorError)(_message(error)) from error
        except BaseException as error:
            raise OperatorError(_message(error)) from error


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
        raise TargetError(f"target module {place!r} failed to import: {_message(error)}") from error


def _callable_of(operator: Any) -> tuple[Callable[..., Any], Signature]:
    if _is_class_of(operator, torch.autograd.Function):
        has_ctx = operator.setup_context is torch.autograd.Function.setup_context
        return operator.apply, replace(_signature(operator.forward, skip=int(has_ctx)), named=(), wrapped=False)
    if _is_class_of(operator, torch.nn.Module):
        return _module_call(operator), Signature(PARAMETERS)
    if not callable(operator):
        raise TargetError(f"{operator!r} is not callable")
    if (registered := getattr(operator, "_opoverload", None)) is not None:  # of torch.library.custom_op
        return _listing(operator, registered._schema.arguments)
    taken = _signature(operator)
    return taken.calling(operator), taken


def _listing(operator: Callable[..., Any], schema: Sequence[Any]) -> tuple[Callable[..., Any], Signature]:
    """A custom op, called with lists where its schema has List[int], for which it takes no single int."""
    listed = [str(argument.type) == "List[int]" for argument in schema]

    def call(input: Tensor, weight: Tensor, *options: Any) -> Any:
        spatial = weight.dim() - 2
        sizes = [
            [size] * spatial if wanted and isinstance(size, int) else size
            for wanted, size in zip(listed[2:], options, strict=False)
        ]
        return operator(input, weight, *sizes)

    return call, Signature(PARAMETERS[: len(listed)])


def _signature(function: Callable[..., Any], skip: int = 0) -> Signature:
    try:
        return signature_of(function, skip)
    except SignatureError as error:
        raise TargetError(f"{_name_of(function)} {error}") from None


def built(
    module_class: type[torch.nn.Module], in_channels: int, out_channels: int, kernel: tuple[int, ...],
    *, device: Any, dtype: Any, **options: Any,
) -> Any:  # fmt: skip
    """A module of these channels and kernel on a device and in a dtype, which its constructor need not take.

    Raises:
        Unsupported: an option that it does not take is not at its default, or it takes square kernels only.
    """
    for name in [name for name in options if not _takes(module_class, name)]:
        if not is_default(options.pop(name), _OF_A_MODULE.get(name)):
            raise Unsupported(f"its constructor takes no {name}")

    def made(size: Any) -> Any:
        if _takes(module_class, "device") and _takes(module_class, "dtype"):
            return module_class(in_channels, out_channels, size, device=device, dtype=dtype, **options)
        with torch.device(device):
            return module_class(in_channels, out_channels, size, **options).to(dtype)

    try:
        return made(kernel)
    except TypeError as error:
        if len(set(kernel)) > 1:
            raise Unsupported(f"its constructor takes no kernel of unequal sizes: {error}") from error
    return made(kernel[0])


def _takes(module_class: type[torch.nn.Module], name: str) -> bool:
    """Whether the constructor of a module takes an argument of this name."""
    taken = inspect.signature(module_class).parameters
    return name in taken or any(p.kind is p.VAR_KEYWORD for p in taken.values())


def _module_call(module_class: type[torch.nn.Module]) -> Callable[..., Any]:
    def call(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1,
    ) -> Any:  # fmt: skip
        sizes = weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:])
        # its own parameters are drawn, which vmap would not have it do, and not used
        with torch.random.fork_rng(devices=[]), torch._C._DisableFuncTorch():
            module = built(
                module_class, *sizes, stride=stride, padding=padding, dilation=dilation, groups=groups,
                bias=bias is not None, device=weight.device, dtype=weight.dtype,
            )  # fmt: skip
        parameters = {_parameter(module, "weight"): weight}
        if bias is not None:
            parameters[_parameter(module, "bias")] = bias
        return torch.func.functional_call(module, parameters, (input,))

    return call


def _parameter(module: torch.nn.Module, role: str) -> str:
    """The name of a module's weight or bias, of its own or of the one module inside that has such a one.

    Raises:
        Unsupported: it has no weight, or several: there is nothing to ask it by.
        OperatorError: it was asked for a bias and has none.
    """
    names = [name for name, _ in module.named_parameters()]
    found = [name for name in names if name == role or name.endswith(f".{role}")]
    if len(found) != 1:
        refusal = Unsupported if role == "weight" else OperatorError
        raise refusal(f"of a module's parameters one must be called {role}; it has {', '.join(names) or 'none'}")
    return found[0]


def _is_class_of(value: Any, base: type) -> bool:
    return inspect.isclass(value) and issubclass(value, base)


def _name_of(operator: Any) -> str:
    module = getattr(operator, "__module__", None)
    name = getattr(operator, "__qualname__", None) or getattr(operator, "__name__", None)
    if name is None:
        name, module = type(operator).__qualname__, type(operator).__module__
    return f"{module}:{name}" if module else str(name)


def _is_refusal(error: Exception) -> bool:
    """Whether the operator's own code raised it, with something to say, as checks of arguments do.

    What torch, numpy or Python itself raises is an accident.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not str(error):
        return False
    raised = trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
    return raised and package not in {"torch", "numpy", *sys.stdlib_module_names}


def _message(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _hint(module: Any) -> str:
    names = [name for name in dir(module) if not name.startswith("_") and callable(getattr(module, name, None))]
    own = [name for name in names if getattr(getattr(module, name), "__module__", "") == getattr(module, "__name__", 0)]
    return f"; it has {', '.join(own[:8])}" if own else ""
