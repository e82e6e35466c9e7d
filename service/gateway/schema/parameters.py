"""The parameters of media as pydantic fields, made from the registry: of content parts and of the form."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from pandagpt_core.modalities import MODALITIES, Entry, Number, Parameter, Selection, Value
from service.gateway.schema.body import PartModel


def model(entry: Entry) -> type[PartModel]:
    """`DepthParams` for the entry of "depth": every parameter, each optional."""
    if entry.name not in _models:
        fields: dict[str, Any] = {one.name: (_kind(one) | None, _field(one)) for one in entry.parameters}
        _models[entry.name] = create_model(
            f"{entry.name.title()}Params", __base__=PartModel, __doc__=_about(entry), **fields
        )
    return _models[entry.name]


def form_fields() -> dict[str, Any]:
    """The same of all modalities as fields of the form, `depth_unit` for depth's `unit`."""
    return {
        _FORM_FIELDS[entry.name][one.name]: (_kind(one) | None, _field(one))
        for entry in MODALITIES.values()
        for one in entry.parameters
    }


def given(params: BaseModel | None) -> dict[str, Value]:
    """The parameters that the caller named."""
    return {} if params is None else {name: value for name, value in params.model_dump().items() if value is not None}


def given_in_form(entry: Entry, form: BaseModel) -> dict[str, Value]:
    """The entry's parameters that the form names."""
    values = {name: getattr(form, field) for name, field in _FORM_FIELDS[entry.name].items()}
    return {name: value for name, value in values.items() if value is not None}


def _kind(parameter: Parameter) -> Any:
    match parameter:
        case Number(low=low, high=high):
            return Annotated[float, Field(ge=low, le=high)]
        case Selection(values=values):
            return Literal[values]
    return bool


def _field(parameter: Parameter) -> Any:
    """Without a value, and described: the unit in brackets, and what holds without one."""
    unit = f" ({parameter.unit or 'no unit'})" if isinstance(parameter, Number) else ""
    about = f"{parameter.about[0].upper()}{parameter.about[1:]}"
    return Field(default=None, description=f"{about}{unit}. Default: {parameter.otherwise}.")


def _about(entry: Entry) -> str:
    return f"How to read {entry.about}: " + "; ".join(f"`{one.name}`, {one.about}" for one in entry.parameters) + "."


_models: dict[str, type[PartModel]] = {}
_FORM_FIELDS = {
    entry.name: {one.name: entry.form_field(one) for one in entry.parameters} for entry in MODALITIES.values()
}
