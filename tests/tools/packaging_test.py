"""The Spack recipe and the container name only what the project has. Neither tool is run here."""

import ast
import re

import pytest

SPACK_NAMES = {
    "MPI": "mpi",
    "HDF5": "hdf5",
    "Boost": "boost",
    "fmt": "fmt",
    "nlohmann_json": "nlohmann-json",
    "GTest": "googletest",
    "CUDAToolkit": None,
}


@pytest.fixture(scope="module")
def recipe(source):
    """The texts that stand first in the calls of a name in the recipe."""
    tree = ast.parse((source / "packaging/spack/packages/retort/package.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]

    def called(function):
        return function.id if isinstance(function, ast.Name) else function.attr

    return lambda name: [call.args[0].value for call in calls if called(call.func) == name]


@pytest.fixture(scope="module")
def build(source):
    files = ("CMakeLists.txt", "cmake/Dependencies.cmake", "cmake/LibTorch.cmake")
    return "".join((source / name).read_text() for name in files)


@pytest.fixture(scope="module")
def definition(source):
    return (source / "packaging/apptainer.def").read_text()


def test_the_recipe_sets_options_of_the_build(recipe, build):
    options = recipe("define") + recipe("define_from_variant")
    assert options and all(re.search(rf"\b{option}\b", build) for option in options)


def test_everything_that_configure_asks_for_is_in_the_recipe(recipe, build):
    names = {re.split("[@+~:]", text)[0] for text in recipe("depends_on")}
    asked = re.findall(r"^\s*find_package\((\w+)", build, re.M)
    assert asked and all(SPACK_NAMES[package] is None or SPACK_NAMES[package] in names for package in asked)
    assert {"random123", "xxhash", "py-torch", "nccl"} <= names


def test_the_container_has_its_sections(definition):
    sections = re.findall(r"^%(\w+)", definition, re.M)
    assert sections == ["setup", "post", "environment", "runscript", "test", "labels"]
    assert re.match(r"(#.*\n)+Bootstrap: docker\nFrom: debian:", definition)


def test_the_container_names_programs_and_presets_that_are_there(definition, source):
    programs = {path.stem.replace("_", "-") for path in (source / "src/programs").glob("*.cpp")}
    assert set(re.findall(r"retort-([a-z-]+)", definition)) <= programs
    presets, known = re.findall(r"tools/setup --preset (\w+)", definition), (source / "CMakePresets.json").read_text()
    assert presets and all(f'"name": "{preset}"' in known for preset in presets)
