//! Lets binaries and tests find libtorch beside themselves, with no `LD_LIBRARY_PATH`.
//!
//! The build script of every package that links libtorch: their manifests name this file.

fn main() {
    // From target/<profile>/, from target/<profile>/{deps,examples}/, and from an installed bin/ beside lib/.
    for place in [
        "../../.libtorch/torch/lib",
        "../../../.libtorch/torch/lib",
        "../lib",
    ] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{place}");
    }
    println!("cargo:rerun-if-changed=../model/build.rs");
}
