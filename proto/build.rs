//! Compiles the .proto files without protoc.

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "chronos/admin/v1/cluster.proto",
        "chronos/admin/v1/dedup.proto",
        "chronos/admin/v1/group.proto",
        "chronos/admin/v1/maintenance.proto",
        "chronos/admin/v1/replay.proto",
        "chronos/admin/v1/schedule.proto",
        "chronos/admin/v1/setting.proto",
        "chronos/admin/v1/topic.proto",
    ];
    let set = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::Codec")
        // In one order, so that equal messages have equal bytes.
        .btree_map(".")
        .compile_fds(set)?;
    println!("cargo:rerun-if-changed=chronos");
    Ok(())
}
