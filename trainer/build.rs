//! Lets the binary and its tests find libtorch beside the checkout or the installation.

fn main() {
    for path in [
        "$ORIGIN/../../.libtorch/torch/lib",
        "$ORIGIN/../../../.libtorch/torch/lib",
        "$ORIGIN/../lib",
    ] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{path}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
