# A Spack recipe; from the project's folder: spack repo add packaging/spack && spack dev-build retort@main
from spack.package import (
    CMakePackage,
    CudaPackage,
    depends_on,
    generator,
    join_path,
    license,
    resource,
    variant,
    version,
)


class Retort(CMakePackage, CudaPackage):
    """Distils single-cell atlases on clusters: rank-parallel ingest, training, distilling and evaluation of h5ad."""

    license("MIT")

    version("main")

    variant("tests", default=False, description="Build the tests")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("mpi")
    depends_on("hdf5+mpi")
    depends_on("boost@1.74:+program_options")
    depends_on("fmt@9:")
    depends_on("nlohmann-json")
    depends_on("random123")
    depends_on("xxhash")
    depends_on("googletest", when="+tests")
    depends_on("py-torch@2.11:~cuda", when="~cuda")
    depends_on("py-torch@2.11:+cuda", when="+cuda")
    depends_on("nccl@2.18:", when="+cuda")

    # UMAP for the report, headers alone; Spack has no package of them.
    resource(
        name="assorthead",
        url="https://pypi.io/packages/source/a/assorthead/assorthead-0.2.2.tar.gz",
        sha256="671c0d71241bc667589761f5f04bc47f318a049b6044374559e6c082ca6999c1",
        placement="assorthead",
    )

    generator("ninja")

    def cmake_args(self):
        torch = join_path(python_platlib_of(self.spec["py-torch"]), "torch", "share", "cmake", "Torch")
        return [
            self.define("Torch_DIR", torch),
            self.define(
                "UMAPPP_INCLUDE", join_path(self.stage.source_path, "assorthead", "src", "assorthead", "include")
            ),
            self.define("RETORT_GPU", "ON" if self.spec.satisfies("+cuda") else "OFF"),
            self.define_from_variant("RETORT_TESTS", "tests"),
        ]


def python_platlib_of(package):
    """Where the Python modules of `package` lie."""
    return join_path(package.prefix, package["python"].package.platlib)
