//! Compiles the schemas in `../proto` without an installed protoc, when the gRPC stubs are asked for.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "grpc")]
    grpc::compile();
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::path::PathBuf;

    use prost::Message;

    pub(crate) fn compile() {
        println!("cargo:rerun-if-changed=../proto");
        let schemas = [
            "agon/v1/ledger.proto",
            "agon/v1/miner.proto",
            "agon/v1/validator.proto",
        ];
        let files = protox::compile(schemas, ["../proto"]).expect("the schemas in proto/ compile");
        let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
        std::fs::write(out.join("descriptors.bin"), files.encode_to_vec())
            .expect("the build folder is writable");
        tonic_prost_build::configure()
            .btree_map(".")
            .compile_fds(files)
            .expect("stubs are generated from compiled schemas");
    }
}
