"""The Spack recipe and the container name only what the project has: usage packaging_test.py PROJECT. Neither tool is run here."""

import ast
import pathlib
import re
import sys

project = pathlib.Path(sys.argv[1])
recipe = ast.parse((project / "packaging/spack/packages/retort/package.py").read_text())
calls = [node for node in ast.walk(recipe) if isinstance(node, ast.Call)]


def first_texts(name: str) -> list[str]:
    called = lambda f: f.id if isinstance(f, ast.Name) else f.attr
    return [call.args[0].value for call in calls if called(call.func) == name]


build = "".join(
    (project / name).read_text() for name in ("CMakeLists.txt", "cmake/Dependencies.cmake", "cmake/LibTorch.cmake")
)
options = first_texts("define") + first_texts("define_from_variant")
assert options and all(re.search(rf"\b{option}\b", build) for option in options), options

# Everything that configure asks for is in the recipe under Spack's name.
names = {re.split("[@+~:]", text)[0] for text in first_texts("depends_on")}
spack_names = {
    "MPI": "mpi",
    "HDF5": "hdf5",
    "Boost": "boost",
    "fmt": "fmt",
    "nlohmann_json": "nlohmann-json",
    "GTest": "googletest",
    "CUDAToolkit": None,
}
asked = re.findall(r"^\s*find_package\((\w+)", build, re.M)
assert asked and all(spack_names[package] is None or spack_names[package] in names for package in asked), (asked, names)
assert {"random123", "xxhash", "py-torch", "nccl"} <= names, names

definition = (project / "packaging/apptainer.def").read_text()
sections = re.findall(r"^%(\w+)", definition, re.M)
assert sections == ["setup", "post", "environment", "runscript", "test", "labels"], sections
assert re.match(r"(#.*\n)+Bootstrap: docker\nFrom: debian:", definition)
programs = {path.stem.replace("_", "-") for path in (project / "src/programs").glob("*.cpp")}
assert set(re.findall(r"retort-([a-z-]+)", definition)) <= programs
presets = re.findall(r"tools/setup --preset (\w+)", definition)
assert presets and all(f'"name": "{preset}"' in (project / "CMakePresets.json").read_text() for preset in presets)
