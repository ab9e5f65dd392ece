"""The catalogue as a whole: names, statements, citations, and that each property catches its mutant."""

import importlib
import pkgutil

import pytest

from convverify import kill_matrix, mutants, properties
from convverify.mutants import CONTROLS, MUTANTS
from convverify.mutants.base import Mutant
from convverify.properties import CATALOGUE, FAMILIES, UnknownPropertyError, named
from convverify.properties.base import Property, declare
from convverify.results import Outcome
from convverify.theorem_ids import THEOREM_IDS
from convverify.values import DISTRIBUTIONS
from convverify.verification import verify

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
NO_FAMILY = {"base", "calls", "claims"}


def test_there_are_at_least_fifteen_properties_with_names_of_their_own():
    names = [prop.name for prop in CATALOGUE]
    assert len(names) >= 15
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("prop", CATALOGUE, ids=lambda prop: prop.name)
def test_property_states_a_sentence_and_cites_theorems(prop: Property):
    assert prop.name.isidentifier()
    assert prop.name == prop.name.lower()
    assert prop.statement.endswith(".")
    assert len(prop.statement.split()) >= 5
    assert "  " not in prop.statement
    assert "\n" not in prop.statement
    assert prop.cites
    assert set(prop.cites) <= set(THEOREM_IDS)
    assert set(prop.demand.values) <= set(DISTRIBUTIONS)
    assert prop.demand.weight > 0


def test_every_family_module_is_listed_and_has_properties():
    modules = {info.name for info in pkgutil.iter_modules(properties.__path__)} - NO_FAMILY
    listed = {family.__name__.rpartition(".")[2] for family in FAMILIES}
    with_properties = {
        name
        for name in modules
        if any(isinstance(v, Property) for v in vars(importlib.import_module(f"convverify.properties.{name}")).values())
    }
    assert with_properties == listed
    assert all(properties.declared(family) for family in FAMILIES)


def test_every_mutant_family_module_is_listed():
    listed = {family.__name__.rpartition(".")[2] for family in (*mutants.FAMILIES, *mutants.STYLES)}
    holding = {
        info.name
        for info in pkgutil.iter_modules(mutants.__path__)
        if mutants.base.declared(importlib.import_module(f"convverify.mutants.{info.name}"), Mutant)
    }
    assert holding - listed <= {"hostile"}


def test_property_is_found_by_name_and_a_near_miss_is_helped():
    assert named(CATALOGUE[0].name) is CATALOGUE[0]
    with pytest.raises(UnknownPropertyError, match="did you mean forward_equals_torch"):
        named("forward_equal_torch")
    with pytest.raises(UnknownPropertyError, match="`convverify properties` lists them"):
        named("zzz")


def test_a_citation_of_no_theorem_is_refused_where_it_is_written():
    with pytest.raises(ValueError, match=r"cites \['XX-9'\], which are no theorems"):
        declare("forward", ("XX-9",), "")


def test_every_theorem_about_the_operator_is_cited():
    cited = {theorem for prop in CATALOGUE for theorem in prop.cites}
    about = {"FW-1", "FW-ALL", "GI-ALL", "GW-ALL", "GB-1", "DB-1", "DB-2", "DB-3", "EX-1", "SZ-1", "RB-1", "BL-1"}
    assert about <= cited


def test_every_property_names_a_mutant_that_it_catches():
    assert [prop.name for prop in CATALOGUE if not prop.kills] == []


def test_every_named_mutant_exists():
    assert {prop.kills for prop in CATALOGUE if prop.kills} <= set(BY_NAME)


@pytest.mark.parametrize("prop", [prop for prop in CATALOGUE if prop.kills in BY_NAME], ids=lambda prop: prop.name)
def test_property_alone_catches_its_mutant(prop: Property):
    mutant = BY_NAME[prop.kills]
    run = verify(
        mutant.make(), "standard", domain=mutant.domain, name=mutant.name, properties=(prop.name,), secret_seed=1
    )
    assert run.results[0].outcome in (Outcome.FALSIFIED, Outcome.ERRORED), run.results[0].reason
    assert run.results[0].counterexample is not None


def test_every_mutant_names_its_fault():
    assert [mutant.name for mutant in MUTANTS if len(mutant.fault.split()) < 3] == []
    assert len(BY_NAME) == len(MUTANTS)


def test_every_mutant_names_a_property_that_must_catch_it():
    names = {prop.name for prop in CATALOGUE}
    assert {mutant.name: mutant.caught_by for mutant in MUTANTS if mutant.caught_by not in names} == {}


def test_the_kill_matrix_is_of_this_catalogue_and_blames_no_control():
    matrix = kill_matrix.kept()
    assert matrix["properties"] == [prop.name for prop in CATALOGUE]
    assert set(matrix["mutants"]) == {mutant.name for mutant in MUTANTS}
    assert set(matrix["controls"]) == {control.name for control in CONTROLS}
    assert not [name for name, entry in matrix["controls"].items() if entry["caught_by"]]
    caught = [name for name, entry in matrix["mutants"].items() if entry["caught_by"]]
    assert len(caught) >= 0.9 * len(MUTANTS)
