//! Lets binaries and tests of this package find libtorch beside themselves, with no `LD_LIBRARY_PATH`.

fn main() {
    // From target/<profile>/, from target/<profile>/{deps,examples}/, and from an installed bin/ beside lib/.
    for place in [
        "../../.libtorch/torch/lib",
        "../../../.libtorch/torch/lib",
        "../lib",
    ] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{place}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
