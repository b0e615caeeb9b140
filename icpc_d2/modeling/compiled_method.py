"""Modules of which torch.compile is to take one method, and not all that a call does."""

from typing import Any, ClassVar

import torch


class CompiledMethod:
    """Mixed into a module whose ``compile`` compiles one method in place of the call.

    As with torch's own compiled calls, copies of the module and what is unpickled are not compiled.
    """

    compiled_method: ClassVar[str]

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the method; the arguments are those of `torch.compile`."""
        method = getattr(type(self), self.compiled_method).__get__(self)
        setattr(self, self.compiled_method, torch.compile(method, *args, **kwargs))

    @property
    def is_compiled(self) -> bool:
        """Whether :meth:`compile` was called on this very module."""
        return self.compiled_method in self.__dict__

    def __getstate__(self) -> dict[str, Any]:
        # It belongs to this very module: a copy would compute with the weights of this one.
        return {name: value for name, value in super().__getstate__().items() if name != self.compiled_method}
