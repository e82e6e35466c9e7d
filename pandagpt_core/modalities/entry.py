"""A modality's entry in the registry: frozen values, no behaviour beyond names that follow from names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Value = float | str
_FILE = "the value in the file; refused where one is needed and the file has none"


@dataclass(frozen=True, slots=True)
class Number:
    """A number that comes beside a medium, within `low`..`high`. `unit` is for readers.

    `label` of a parameter is its title in a form, where its name does not make a good one; `otherwise` states what
    holds where it is not given.
    """

    name: str
    about: str
    low: float
    high: float
    unit: str = ""
    label: str = ""
    otherwise: str = _FILE


@dataclass(frozen=True, slots=True)
class Selection:
    """One of `values`."""

    name: str
    about: str
    values: tuple[str, ...]
    label: str = ""
    otherwise: str = _FILE


@dataclass(frozen=True, slots=True)
class Composition:
    """A boolean: the same file is a medium of `modality` too. `form` is the suffix of its form field."""

    name: str
    about: str
    modality: str
    form: str
    label: str = ""
    otherwise: str = "false"


Parameter = Number | Selection | Composition


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way from bytes to an encoder's array of one form. Encoders and model folders hold the name.

    `reading` counts changes of how a file is read under that name; it is part of the names of caches. `array` is the
    form: a model folder may name any recipe of its modality whose form its tower reads. `batch` names the recipe that
    reads many media at once. `without` are parameters of the modality that this recipe does not take.
    """

    name: str
    module: str
    function: str
    array: str = ""
    about: str = ""
    reading: int = 1
    batch: str = ""
    without: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        return self.module, self.function


@dataclass(frozen=True, slots=True)
class Entry:
    """A modality. `limits` are the names of its fields of `media.Limits`, `mime` maps file suffixes to MIME types.

    `named` are suffixes that belong to it where the word `name` stands in the file's or folder's name: pictures and
    arrays that another modality may hold too. `sample` is "module:function", which makes a tiny medium that works with
    `sample_params`. `is_file` is false for a medium that is sent as a string. `formats` and `reads` are for
    docs/media.md: the files, and the parameters taken from a file itself. `label` is the noun of a form's menu. `own`
    is the recipe that reads the parameters which a file names itself, where the modality has one.
    """

    name: str
    about: str
    recipes: tuple[Recipe, ...]
    sample: tuple[str, str]
    label: str = ""
    own: str = ""
    shown: str = ""
    sample_params: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    parameters: tuple[Parameter, ...] = ()
    limits: tuple[str, ...] = ("bytes",)
    mime: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    named: tuple[str, ...] = ()
    is_file: bool = True
    formats: str = ""
    reads: str = ""

    @property
    def inspected_by(self) -> str:
        return self.shown or self.recipes[-1].name

    @property
    def noun(self) -> str:
        return self.label or self.name

    @property
    def part(self) -> str:
        """The `type` of its content part, and the name of the part's payload."""
        return f"{self.name}_url"

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.parameters)

    def form_field(self, parameter: Parameter) -> str:
        """The multipart field that holds the parameter."""
        suffix = parameter.form if isinstance(parameter, Composition) else parameter.name
        return f"{self.name}_{suffix}"
